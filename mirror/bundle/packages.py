"""Named files of packages, found on the mirror's own index: locks and records name files, and the mirror says where they are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_version,
    parse_sdist_filename,
    parse_wheel_filename,
)

from mirror.bundle.fetch import Client, Declined
from mirror.bundle.locks import PUBLIC, Choice, LockedFile
from mirror.bundle.plan import Outcome, State, WantedFile, package_file
from mirror.core.nouns import PYPI, Artifact, Kind, Project
from mirror.core.purl import normalise_pypi

#: PEP 691.
_JSON: Final = "application/vnd.pypi.simple.v1+json"


@dataclass(frozen=True, slots=True)
class _Row:
    target: str
    sha256: str | None
    size: int | None


class Index:
    """The mirror's package index at `url` (`…/simple/`), one page a project and run. `origins` are those of the mirror."""

    def __init__(self, client: Client, url: str, origins: Sequence[str]) -> None:
        self._client, self._url, self._origins = client, url, tuple(origins)
        self._pages: dict[str, asyncio.Task[Mapping[str, _Row]]] = {}

    async def locked(self, choice: Choice) -> tuple[Sequence[WantedFile], Sequence[Outcome]]:
        """The files of one release of a lock, and what is wrong with those that cannot be had.

        A file that has another digest here than in the lock is an error: one of the two is not what its author published.
        """
        package = choice.package
        whole = str(Artifact(Project(PYPI, Kind.PACKAGE, package.name), package.version, ""))
        if package.foreign:
            said = f"the lock takes it from elsewhere ({package.foreign}), and a mirror of an index has no such thing"
            return (), (Outcome(whole, State.FAILED, sentence=said),)
        problems = [Outcome(whole, State.MISSING, sentence=f"the lock has no file of it for {target}") for target in choice.lacking]
        found, more = await self._files(package.name, package.version, choice.files, package.index)
        return found, (*problems, *more)

    async def named(self, name: str, version: str, files: Sequence[str]) -> tuple[Sequence[WantedFile], Sequence[Outcome]]:
        """These files of a release, by their names."""
        return await self._files(name, version, [LockedFile(one, None) for one in files])

    async def release(self, name: str, version: str) -> Sequence[WantedFile]:
        """Every file of a release that the index lists. Raises `Declined`."""
        page = await self._page(name)
        wanted = canonicalize_version(version)
        return [package_file(name, version, row.target, row.size, row.sha256) for file, row in page.items() if _version(file) == wanted]

    async def _files(
        self, name: str, version: str, files: Sequence[LockedFile], index: str = ""
    ) -> tuple[Sequence[WantedFile], Sequence[Outcome]]:
        # From whichever index it was locked: the digest tells whether it is the file that was meant.
        aside = f"; the lock takes it from {index}" if index and index not in PUBLIC else ""
        try:
            page = await self._page(name) if files else {}
        except Declined as no:
            whole = str(Artifact(Project(PYPI, Kind.PACKAGE, normalise_pypi(name)), version, ""))
            return (), (Outcome(whole, no.state, None, no.sentence, no.rule, no.decision),)
        found: list[WantedFile] = []
        wrong: list[Outcome] = []
        for file in files:
            row = page.get(file.name)
            artifact = str(Artifact(Project(PYPI, Kind.PACKAGE, normalise_pypi(name)), version, file.name))
            if row is None:
                wrong.append(Outcome(artifact, State.MISSING, file.size, f"the mirror's index lists no such file{aside}"))
            elif file.sha256 is not None and row.sha256 not in (None, file.sha256):
                wrong.append(Outcome(artifact, State.FAILED, file.size, f"its SHA-256 is {row.sha256} at the mirror and {file.sha256} in the lock"))
            else:
                size = row.size if row.size is not None else file.size
                found.append(package_file(name, version, row.target, size, file.sha256 or row.sha256))
        return found, wrong

    async def _page(self, name: str) -> Mapping[str, _Row]:
        """The files on a project's page by their names. Raises `Declined`."""
        project = normalise_pypi(name)
        if project not in self._pages:
            self._pages[project] = asyncio.ensure_future(self._read(project))
        return await self._pages[project]

    async def _read(self, project: str) -> Mapping[str, _Row]:
        url = f"{self._url.rstrip('/')}/{project}/"
        page = await self._client.listing(urlsplit(url).path, _JSON)
        return dict(self._rows(page, url))

    def _rows(self, page: Any, url: str) -> Iterator[tuple[str, _Row]]:
        for row in page.get("files", ()) if isinstance(page, dict) else ():
            parts = urlsplit(urljoin(url, row["url"]))
            if f"{parts.scheme}://{parts.netloc}" in self._origins:
                size = row.get("size")
                yield row["filename"], _Row(parts.path, row.get("hashes", {}).get("sha256"), size if isinstance(size, int) else None)


def _version(name: str) -> str | None:
    """The version in a file's name, normalised (PEP 440); None where it shows none."""
    try:
        return canonicalize_version((parse_wheel_filename if name.endswith(".whl") else parse_sdist_filename)(name)[1])
    except (InvalidWheelFilename, InvalidSdistFilename):
        return None
