"""How far each sink has got: one small file a sink, replaced as a whole once the receiver has what it counts."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from mirror.durable import write_whole

if TYPE_CHECKING:
    from pathlib import Path

#: The folder of cursors within the ledger's.
FOLDER: Final = "sinks"


@dataclass(frozen=True, slots=True)
class Cursor:
    """`next` is the sequence of the first record that the receiver may not have, `leaf` the leaf of the one before, where known.

    `delivered` is when it last took something, `why` what its last failure was and `since` when it first failed since: instants as
    records write them, empty for none.
    """

    next: int = 0
    leaf: str = ""
    delivered: str = ""
    why: str = ""
    since: str = ""


def cursor_path(ledger: Path, name: str) -> Path:
    """Where the cursor of the sink `name` lies."""
    return ledger / FOLDER / name


def read_cursor(path: Path) -> Cursor | None:
    """The cursor, or None where there is none. Raises `ValueError` for a file that is none."""
    try:
        stated = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    try:
        found = Cursor(**stated)
    except TypeError:
        raise ValueError("is no cursor") from None
    texts = (found.leaf, found.delivered, found.why, found.since)
    if type(found.next) is not int or found.next < 0 or not all(isinstance(text, str) for text in texts):
        raise ValueError("is no cursor")
    return found


def write_cursor(path: Path, cursor: Cursor) -> None:
    """Replace it, durably. Raises `OSError`."""
    path.parent.mkdir(exist_ok=True, mode=0o750)
    write_whole(path, json.dumps(asdict(cursor), ensure_ascii=False).encode() + b"\n")
