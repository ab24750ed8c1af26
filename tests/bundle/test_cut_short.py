"""An import that ends at any system call, or at any byte of a write: nothing of the bundle can be seen or all of it, and the same command completes it.

A few moments here, drawn with a fixed seed; all of them in `tests/torture/test_cut_short.py`.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from tests.bundle.interrupted import CHANGED, Course, Export, made
from tests.support.calls import Answer, Call, Kill
from tests.support.mirror import until

SEED = 20261122
#: Files of a mirror that are made anew from others, or mean nothing once their process is gone.
PASSING = ("/index.sqlite-shm", "/ledger/lock", "/ledger/reserve", "/ledger/head", "/ledger/tree-0", "/blobs/usage")


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> Course:
    folder = tmp_path_factory.mktemp("cut-short")
    with made(folder) as world:
        pass
    return Course(world, folder)


def at(number: int, answer: Answer):
    """Answer one call, and let all others be done."""
    return lambda call: answer if call.number == number else None


def first(name: str, part: str, answer: Answer):
    """Answer the first such call about a path with such a part, and let all others be done."""
    seen: list[Call] = []

    def decide(call: Call) -> Answer:
        if call.name.startswith(name) and part in call.path:
            seen.append(call)
        return answer if seen and call is seen[0] else None

    return decide


def moments(course: Course, count: int) -> list[int]:
    """So many calls, one from each part of the import."""
    chance, edges = random.Random(SEED), [len(course.calls) * part // count + 1 for part in range(count + 1)]
    return [chance.randrange(start, stop) for start, stop in pairwise(edges)]


def test_killed_before_any_call(course):
    """Killed before a call that changes the disk, an import shows nothing or all of its bundle, and run again it completes and copies nothing twice."""
    for number in moments(course, 3):
        lab = course.lab()
        ran = course.interrupted(lab, at(number, Kill()))
        course.completed(lab, ran)


def test_killed_within_a_write(course):
    """Killed when only the beginning of a write had reached a file, of the index and a receipt, it is the same."""
    chance = random.Random(SEED)
    for part in ("/index.sqlite-wal", "/medium/"):
        size = max(call.size for call in course.calls if part in call.path)
        lab = course.lab()
        ran = course.interrupted(lab, first("write" if part == "/medium/" else "pwrite64", part, Kill(chance.randrange(1, min(size, 24)))))
        assert ran.code == -9
        course.completed(lab, ran)


def test_killed_while_a_mirror_serves(course):
    """Beside a mirror that serves it is the same: clients get the old file until they get the new one."""
    lab = course.lab()
    with lab.served():
        for number in (3, 20, 60):
            assert course.interrupted(lab, at(number, Kill())).code == -9
        course.completed(lab, course.interrupted(lab, at(150, Kill())))
        until(lambda: lab.mirror.get("/acme/heavy/resolve/main/config.json").body == CHANGED)


def test_a_disk_that_is_full_or_fails(course):
    """From any call on a full disk, and at any call an error of the disk, end in one sentence and exit 2, or do no harm; later the same command completes it."""
    writing = {"write", "pwrite64", "openat", "open", "mkdir", "mkdirat", "fallocate", "rename"}
    for number, last, problem in zip(moments(course, 2), (10**6, 0), (errno.ENOSPC, errno.EIO), strict=True):

        def decide(call: Call, number=number, last=max(number, last), problem=problem) -> Answer:
            return problem if number <= call.number <= last and (last == number or call.name in writing) else None

        lab = course.lab()
        course.completed(lab, course.failed(lab, decide))


def test_no_receipt_is_ahead_of_what_it_tells(course):
    """Whatever was written before a receipt is, was made durable before it: a power cut takes nothing that it tells of."""
    waiting: dict[str, Call] = {}
    for call in course.calls:
        if "/bundles/received/" in call.path:
            break
        if call.size:
            waiting[call.path] = call
        elif call.name in ("fsync", "fdatasync"):
            waiting.pop(call.path, None)
        elif call.name == "syncfs":
            waiting.clear()
    else:
        raise AssertionError("there was no receipt")
    assert [path for path in waiting if not path.endswith(PASSING)] == []


@pytest.mark.parametrize("form", ["tar", pytest.param("dir", marks=pytest.mark.torture), pytest.param("volumes", marks=pytest.mark.torture)])
def test_an_export_is_whole_or_nothing(course, form):
    """An export that is killed, or fails, leaves nothing under the bundle's name or a whole one; its number is neither lost nor given twice."""
    export = Export(course, form)
    for moment in (("rename", "/medium/."), ("unlink", "/000001.unnamed")):  # the number is written down, and the bundle about to be named; it is named
        assert export.interrupted(first(*moment, Kill())).code == -9
    assert export.interrupted(first("rename", "/medium/.", errno.EIO), fails=True).code == 2


@pytest.mark.parametrize("place", [40, *(pytest.param(place, marks=pytest.mark.torture) for place in (1, 2, 3, 10, 20, 30))])
def test_a_medium_that_does_not_give_what_it_has(course, place):
    """A medium that fails while it is read is named in one sentence with exit 2; nothing of the bundle can be seen, and with a medium that works the command completes it."""
    lab, seen = course.lab(), []

    def decide(call: Call) -> Answer:
        if call.path == str(lab.bundle) and call.name in ("read", "readv", "pread64"):
            seen.append(call)
            return errno.EIO if len(seen) == place else None
        return None

    ran = course.failed(lab, decide, reads=True)
    assert (ran.code, "second.tar" in ran.err, "cannot be read: Input/output error" in ran.err) == (2, True, True)
    course.completed(lab, ran)


def cut(path: Path) -> None:
    os.truncate(path, 20_480)


def other(path: Path) -> None:
    data = path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(byte ^ 1 for byte in data))


@pytest.mark.parametrize("change", [cut, pytest.param(other, marks=pytest.mark.torture), pytest.param(Path.unlink, marks=pytest.mark.torture)])
def test_a_medium_that_changes_while_it_is_read(course, change):
    """A bundle that is cut short, overwritten or taken away while files are copied from it is refused in one sentence, and nothing of it can be seen."""
    lab, changed = course.lab(), []

    def decide(call: Call) -> None:
        if "/incoming/" in call.path and call.name == "write" and not changed:
            changed.append(call)
            change(lab.bundle)

    ran = course.failed(lab, decide)
    assert (ran.code, "second.tar" in ran.err) == (2, True)
    shutil.copyfile(course.world.second, lab.bundle)
    course.completed(lab, ran)
