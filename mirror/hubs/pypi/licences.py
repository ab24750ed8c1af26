"""The licence that a wheel brings along: what its METADATA declares, and the files that it names (PEP 639)."""

from __future__ import annotations

import asyncio
import re
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from mirror.core.acquisitions import Publication
from mirror.hubs.pypi.facts import Declared, from_metadata, licenses

if TYPE_CHECKING:
    from mirror.core.actor import Credential
    from mirror.core.nouns import Artifact

#: `*.dist-info/licenses/…` (PEP 639), and where tools put them before.
_LICENCE: Final = re.compile(r"[^/]+\.dist-info/(?:licenses/.+|(?:LICEN[CS]E|COPYING|NOTICE)[^/]*)", re.IGNORECASE)
_METADATA: Final = re.compile(r"[^/]+\.dist-info/METADATA")
_MOST_FILES: Final = 8
_MOST: Final = 256 * 1024
#: A `License` field that is longer is the text itself, not its name.
_LONGEST_NAME: Final = 100


class Licences:
    """`core.acquisitions.Publishing` for an index. An sdist is not opened: nothing tells its licence files from others."""

    async def publication(self, artifact: Artifact, credential: Credential | None, path: Path | None) -> Publication:
        """See `core.acquisitions.Publishing`."""
        public = not self.is_private(artifact.project.name)
        if path is None or not artifact.path.endswith(".whl"):
            return Publication(public)
        declared, texts = await asyncio.to_thread(read_licences, path)
        return Publication(public, declared, texts)

    def is_private(self, project: str) -> bool:
        """Whether `project` is one of the organisation's own names, never asked of the public upstream."""
        raise NotImplementedError


def read_licences(path: Path) -> tuple[tuple[str, ...] | None, tuple[tuple[str, bytes], ...]]:
    """(licences as declared, licence files) of the wheel at `path`. Never fails: what cannot be read is absent.

    At most `_MOST_FILES` files of `_MOST` bytes; what is longer is not taken, whatever the archive says of its size.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            names = wheel.namelist()
            texts = [
                (name, _member(wheel, name))
                for name in sorted(filter(_LICENCE.fullmatch, names))[:_MOST_FILES]
                if not name.endswith("/")
            ]
            metadata = next((_member(wheel, name) for name in names if _METADATA.fullmatch(name)), None)
    except (OSError, ValueError, NotImplementedError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None, ()
    return None if metadata is None else _declared(from_metadata(metadata)), tuple((name, text) for name, text in texts if text is not None)


def _declared(stated: Declared) -> tuple[str, ...] | None:
    """SPDX where it is that, else the uploader's own words."""
    found = licenses(stated)
    if found is not None:
        return found.value
    words = " ".join(stated.license.split())
    return (words,) if 0 < len(words) <= _LONGEST_NAME else None


def _member(wheel: zipfile.ZipFile, name: str) -> bytes | None:
    with wheel.open(name) as file:
        data = file.read(_MOST + 1)
    return data if len(data) <= _MOST else None
