"""Files of closed segments replaced by others without some of their lines: the old one or the new one, whenever the power fails.

The personal file goes first: a personal part without its record would be a fault, a record without its personal part is one that was erased.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from mirror.audit.chain import read_link, stub_of
from mirror.audit.segments import lines, read_personal
from mirror.core.errors import InputError, Problem
from mirror.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from pathlib import Path

    from mirror.audit.segments import Segment

#: How a draft is called; what a crash leaves of one is removed by the next run.
_DRAFT: Final = ".replacing"


def clear_drafts(directory: Path) -> None:
    """Remove what a run that was cut short has left. Raises `OSError`."""
    for path in directory.glob(f".*{_DRAFT}"):
        path.unlink()


def remove_records(current: Segment, gone: Collection[int]) -> int:
    """Leave stubs of these records of a closed segment, and nothing of their personal parts; gives the bytes that became free.

    Done already: nothing is written. Raises `OSError`, and `InputError` where a line cannot be read.
    """
    return erase_parts(current, gone) + _replaced(current.path, lambda: _stubbed(current, gone))


def erase_parts(current: Segment, gone: Collection[int]) -> int:
    """Take the personal parts of these records out of a closed segment's file; gives the bytes that became free. Raises as above."""
    if not current.personal.exists():
        return 0
    return _replaced(current.personal, lambda: _without(current.personal, gone))


def _stubbed(current: Segment, gone: Collection[int]) -> Iterator[tuple[bytes, bool]]:
    for at, line in enumerate(lines(current.path), current.first):
        if at not in gone:
            yield line, False
            continue
        link = read_link(line)
        if isinstance(link, str) or link.sequence != at or not line.endswith(b"\n"):
            raise InputError([Problem(str(current.path), f"seq {at}", "is not the record that stands there: `mirror ledger verify` tells more")])
        stub = stub_of(link)
        yield stub, stub != line


def _without(path: Path, gone: Collection[int]) -> Iterator[tuple[bytes, bool]]:
    for line in lines(path):
        entry = read_personal(line)
        taken = entry is not None and entry["seq"] in gone
        yield b"" if taken else line, taken


def _replaced(path: Path, content: Callable[[], Iterator[tuple[bytes, bool]]]) -> int:
    if not any(changed for _, changed in content()):
        return 0
    draft = path.with_name(f".{path.name}{_DRAFT}")
    before = path.stat()
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, before.st_mode & 0o777)
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            file.writelines(line for line, _ in content())
            file.flush()
            os.fsync(descriptor)
        after = draft.stat().st_size
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return before.st_size - after
