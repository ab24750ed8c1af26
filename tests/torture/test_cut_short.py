"""An import that ends at every system call by which it changes the disk, at bytes of every write, and at every error of a disk.

`tests/bundle/test_cut_short.py` has a few of these; how it is done is in `tests/support/calls.py`.
"""

from __future__ import annotations

import errno
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from mirror.audit.check import check
from tests.audit.test_carry import made as two
from tests.audit.test_carry import same_records, told
from tests.bundle.interrupted import CHANGED, FORMS, Course, Export, Lab
from tests.bundle.test_cut_short import SEED, at, course
from tests.support.calls import Answer, Call, Kill, Ran, run
from tests.support.mirror import clean_environment, until

__all__ = ["course", "two"]

pytestmark = [pytest.mark.torture, pytest.mark.timeout(3600)]
ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT)
#: Calls that need room.
GROWING = frozenset({"write", "pwrite64", "writev", "pwritev", "open", "openat", "mkdir", "mkdirat", "fallocate", "rename", "renameat", "link"})


def kept(course: Course, decide, what: str, tried: Counter[str], *, fails: bool) -> None:
    """One import that is interrupted by `decide`, and what comes of it."""
    lab = course.lab()
    try:
        ran = (course.failed if fails else course.interrupted)(lab, decide)
        course.completed(lab, ran)
    except AssertionError as error:
        raise AssertionError(f"{what}: {error}") from error
    tried.update({"imports interrupted": 1, "that did not mind" if ran.code == 1 else "completed by the same command": 1})
    shutil.rmtree(lab.folder.parent)


def test_killed_before_every_call(course, record_property):
    """Killed before each call that changes the disk, an import shows nothing or all of its bundle, and run again it completes and copies nothing twice."""
    tried: Counter[str] = Counter()
    for number in range(1, len(course.calls) + 2):
        kept(course, at(number, Kill()), f"killed at call {number}", tried, fails=False)
    record_property("tried", dict(tried))


def test_killed_within_every_write(course, record_property):
    """Killed when a part of a write had reached the file, for every write of an import that can be cut, it is the same."""
    chance, tried = random.Random(SEED), Counter[str]()
    for call in course.calls:
        if call.size > 1 and not call.path.endswith("/ledger/head"):  # 82 bytes at the start of a file: less than a sector
            cut = chance.choice((1, call.size - 1, chance.randrange(1, call.size)))

            def decide(one: Call, number=call.number, cut=cut) -> Answer:
                return Kill(min(cut, max(0, one.size - 1))) if one.number == number else None

            kept(course, decide, f"killed at byte {cut} of call {call}", tried, fails=False)
    record_property("tried", dict(tried))


def test_every_call_fails(course, record_property):
    """An error of the disk at each call ends in one sentence and exit 2, or does no harm; later the same command completes it."""
    tried: Counter[str] = Counter()
    for call in course.calls:
        problems = {ERRORS[call.number % 3], errno.EIO} if "sync" in call.name else {ERRORS[call.number % 3]}
        for problem in sorted(problems):
            kept(course, at(call.number, problem), f"{errno.errorcode[problem]} at call {call}", tried, fails=True)
    record_property("tried", dict(tried))


def test_a_disk_that_stays_full(course, record_property):
    """From each call on a disk that takes nothing more: one sentence, nothing or all; with room the same command completes it."""
    tried: Counter[str] = Counter()
    for number in range(1, len(course.calls) + 1, 3):

        def decide(call: Call, number=number) -> Answer:
            return ERRORS[number % 2 * 2] if call.number >= number and call.name in GROWING else None

        kept(course, decide, f"full from call {number}", tried, fails=True)
    record_property("tried", dict(tried))


def test_killed_at_every_call_while_a_mirror_serves(course, record_property):
    """Beside a mirror that serves, the same lab's import killed later and later: clients get the old file until all of it is there."""
    tried: Counter[str] = Counter()
    for offset in range(1, 13):
        lab = course.lab()
        with lab.served():
            number, ran = offset, None
            while ran is None or ran.code == -9:
                ran = course.interrupted(lab, at(number, Kill()))
                number += 12
                tried["imports interrupted"] += ran.code == -9
            course.completed(lab, ran)
            until(lambda lab=lab: lab.mirror.get("/acme/heavy/resolve/main/config.json").body == CHANGED)
        shutil.rmtree(lab.folder.parent)
    record_property("tried", dict(tried))


def test_exports_killed_before_every_call(course, record_property):
    """An export of any form that is killed before any call leaves nothing under the bundle's name or a whole one; its number is neither lost nor given twice."""
    tried: Counter[str] = Counter()
    for form in FORMS:
        export = Export(course, form)
        # What goes before is the start of a mirror and the fetching of pages, which other tests kill.
        begin = next(call.number for call in export.calls if call.path.startswith(str(export.whole / "medium")))
        for number in range(begin, len(export.calls) + 2):
            export.interrupted(at(number, Kill()))
            tried[f"exports interrupted ({form})"] += 1
    record_property("tried", dict(tried))


def test_recalls_killed_before_every_call(course, record_property):
    """A recall that is killed before any call is in force or not, and the same command completes it with a receipt; nothing else changes."""
    tried: Counter[str] = Counter()
    lab = Lab(course.world, Path(tempfile.mkdtemp(dir=course.folder)), course.world.recall)
    whole = lab.run(lambda _: None)
    assert (whole.code, whole.err) == (0, "")
    after = lab.seen()
    for number in range(1, len(whole.calls) + 2):
        lab = Lab(course.world, Path(tempfile.mkdtemp(dir=course.folder)), course.world.recall)
        ran = lab.run(at(number, Kill()))
        seen = lab.seen()
        assert seen.rows == course.before.rows
        assert seen.recalled == after.recalled or (seen.recalled, len(lab.imports())) == ((), 1)
        lab.sound()
        if ran.code != 0:
            ran = lab.run(lambda _: None)
        assert (ran.code, ran.err) == (0, "")
        assert lab.seen() == after
        assert lab.receipt.exists()
        shutil.rmtree(lab.folder.parent)
        tried["recalls interrupted"] += 1
    record_property("tried", dict(tried))


def test_carries_killed_before_every_call(two, tmp_path, record_property):
    """A carry whose adoption is killed before any call leaves ledgers that verify, and is adopted by the same command, once."""
    tried: Counter[str] = Counter()

    def adopted(home: Path, decide) -> Ran:
        command = ["-c", str(home / "mirror.yaml"), "ledger", "adopt", str(two.first), "--key", two.key, "--name", "lab", "-o", str(home / "ack.json"), "--json"]
        return run(command, decide, below=[home], cwd=home, env=clean_environment())

    number, code = 1, -9
    while code == -9:
        home = Path(shutil.copytree(two.sender, tmp_path / str(number)))
        ran = adopted(home, at(number, Kill()))
        code = ran.code
        for ledger in (home / "data" / "ledger", *(home / "data" / "adopted").glob("[a-z]*")):
            if ledger.is_dir():
                assert check(ledger).fault is None, (number, ledger)
        again = ran if code == 0 else adopted(home, lambda _: None)
        assert (again.code, again.err) == (0, ""), number
        same_records(two.laboratory, home / "data" / "adopted" / "lab", two.middle)
        assert [one["detail"]["stop"] for one in told(home, "adopted")] == [two.middle]
        assert (home / "ack.json").exists()
        shutil.rmtree(home)
        tried["adoptions interrupted"] += code == -9
        number += 1
    record_property("tried", dict(tried))
