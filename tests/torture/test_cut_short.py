"""An import that ends at every system call by which it changes the disk, at bytes of every write, and at every error of a disk.

`tests/bundle/test_cut_short.py` has a few of these; how it is done is in `tests/support/calls.py`.
"""

from __future__ import annotations

import errno
import random
import shutil
from collections import Counter

import pytest

from tests.bundle.interrupted import CHANGED, Course
from tests.bundle.test_cut_short import SEED, at, course
from tests.support.calls import Answer, Call, Kill
from tests.support.mirror import until

__all__ = ["course"]

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
    """Killed when a part of a write had reached the file, for every write of an import, it is the same."""
    chance, tried = random.Random(SEED), Counter[str]()
    for call in course.calls:
        if call.size > 1:
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
