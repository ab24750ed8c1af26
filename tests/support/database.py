"""An index to begin with, without migrating it anew: that takes longer than most tests that need one."""

from __future__ import annotations

import tempfile
from pathlib import Path

from mirror.index.sql import SqlIndex

_NEW: list[bytes] = []


async def index_in(folder: Path) -> SqlIndex:
    """The index in `folder`; where there is none, a new one."""
    path = folder / "index.sqlite"
    if not path.exists():
        if not _NEW:
            with tempfile.TemporaryDirectory() as made:
                await (await SqlIndex.open(None, Path(made))).close()
                _NEW.append((Path(made) / "index.sqlite").read_bytes())
        folder.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_NEW[0])
    return await SqlIndex.open(None, folder)
