"""What a stand-in index holds: projects, releases and files with the attributes that PyPI publishes about them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from . import dist
from .dist import Meta, normalised

if TYPE_CHECKING:
    from collections.abc import Callable

OLD = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


@dataclass
class Dist:
    """One file. Its path is the BLAKE2b-256 of its content, as on PyPI."""

    filename: str
    data: bytes
    version: str
    uploaded: datetime
    metadata: bytes | None = None
    requires_python: str | None = None
    yanked: bool | str = False
    publisher: dict[str, Any] | None = None

    @cached_property
    def sha256(self) -> str:
        """The digest that pages announce."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def blake2(self) -> str:
        """The digest in the path."""
        return hashlib.blake2b(self.data, digest_size=32).hexdigest()

    @cached_property
    def md5(self) -> str:
        """The digest in the ETag and in the legacy JSON."""
        return hashlib.md5(self.data, usedforsecurity=False).hexdigest()

    @property
    def path(self) -> str:
        """`/packages/aa/bb/<60>/<file>`."""
        return f"/packages/{self.blake2[:2]}/{self.blake2[2:4]}/{self.blake2[4:]}/{self.filename}"

    @property
    def kind(self) -> str:
        """What the legacy JSON calls the package type."""
        return "bdist_wheel" if self.filename.endswith(".whl") else "sdist"


@dataclass
class Project:
    """A project. Change the attributes at any time: the next page follows them."""

    name: str
    status: str = "active"  # active, archived, quarantined, deprecated
    organization: str | None = None
    roles: list[dict[str, str]] = field(default_factory=list)
    files: list[Dist] = field(default_factory=list)
    metas: dict[str, Meta] = field(default_factory=dict)
    vulnerabilities: list[dict[str, Any]] = field(default_factory=list)
    serial: int = 1
    lazy: Callable[[Project], None] | None = None

    def ready(self) -> Project:
        """The project with its files built (large ones are built at their first request)."""
        build, self.lazy = self.lazy, None
        if build is not None:
            build(self)
        return self

    def release(self, version: str) -> list[Dist]:
        """The files of one release, to change them (`yanked`, `uploaded`, ...)."""
        return [file for file in self.ready().files if file.version == version]


class Shelf:
    """All projects by normalised name, and every file ever uploaded by its path."""

    def __init__(self) -> None:
        self.projects: dict[str, Project] = {}
        self.by_path: dict[str, Dist] = {}
        self._serial = 24_000_000

    def project(self, name: str, **attributes: Any) -> Project:  # the attributes of Project
        """The project of this name, made if it is new; attributes are set on it."""
        found = self.projects.setdefault(normalised(name), Project(name, roles=[{"role": "Owner", "user": "acme-dev"}]))
        for key, value in attributes.items():
            if not hasattr(found, key):
                msg = f"a project has no {key!r}"
                raise AttributeError(msg)
            setattr(found, key, value)
        return self._touch(found)

    def _touch(self, project: Project) -> Project:
        self._serial += 1
        project.serial = self._serial
        return project

    def add(
        self,
        name: str,
        version: str,
        *,
        requires: list[str] | tuple[str, ...] = (),
        yanked: bool | str = False,
        upload_time: datetime | str = OLD,
        wheel: bool = True,
        sdist: bool = False,
        size_pad: int = 0,
        core_metadata: bool = True,
        publisher: dict[str, Any] | None = None,
        contents: dict[str, bytes] | None = None,
        **meta: Any,  # the attributes of Meta
    ) -> list[Dist]:
        """A release with a wheel and, if asked, a source archive.

        `core_metadata=False` leaves `.metadata` out; `publisher` (for instance {"kind": "GitHub", "repository":
        "acme/lib", "workflow": "release.yml"}) gives it a provenance document; `contents` are more files in the wheel.
        """
        at = datetime.fromisoformat(upload_time) if isinstance(upload_time, str) else upload_time
        about = Meta(name, version, tuple(requires), **meta)
        built: list[tuple[str, bytes]] = []
        built += [dist.wheel(about, size_pad, contents)] if wheel else []
        built += [dist.sdist(about)] if sdist else []
        project = self.project(name)
        project.metas[version] = about
        files = []
        for filename, data in built:
            shown = about.text() if core_metadata and filename.endswith(".whl") else None
            files.append(Dist(filename, data, version, at, shown, about.requires_python, yanked, publisher))
        for file in files:
            self.put(project, file)
        return files

    def put(self, project: Project, file: Dist) -> None:
        """Publish a file on a project's page."""
        project.files.append(file)
        self.by_path[file.path] = file
        self._touch(project)

    def delete_release(self, name: str, version: str) -> None:
        """Take a release off the page. Its files still answer at their own URLs, as PyPI's may."""
        project = self.projects[normalised(name)].ready()
        project.files = [file for file in project.files if file.version != version]
        project.metas.pop(version, None)
        self._touch(project)
