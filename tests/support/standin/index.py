"""The stand-in for PyPI: the index and the file host on two origins, with Warehouse's rules for names and formats."""

from __future__ import annotations

import gzip
import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

from . import index_pages
from .dist import normalised
from .packages import Dist, Project, Shelf
from .server import Origin, StandIn, running
from .wire import GZIP_FROM, Call, Reply, text_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

_PAGE: Final = {"Cache-Control": "max-age=600, public", "Vary": "Accept, Accept-Encoding"}


class StandInIndex(StandIn):
    """An imitation PyPI. Build its content with `add_release` (or `index_defaults.populate_index`), then start it."""

    def __init__(self, seed: int = 0, host: str = "127.0.0.1", ports: Mapping[str, int] | None = None) -> None:
        super().__init__(host)
        self.seed = seed
        self.shelf = Shelf()
        self._rendered: dict[tuple[str, int, str, str, str], bytes] = {}
        wanted = dict(ports or {})
        answers: dict[str, Callable[[Call], Reply]] = {"index": self._index, "files": self._file}
        self.origins = {name: Origin(name, answer, self, wanted.get(name, 0)) for name, answer in answers.items()}

    @property
    def url(self) -> str:
        """The index's origin: what a mirror's upstream is set to."""
        return self.origins["index"].url

    @property
    def simple_url(self) -> str:
        """What pip's `--index-url` is set to in order to go direct."""
        return f"{self.url}/simple/"

    @property
    def files_url(self) -> str:
        """The origin of the files."""
        return self.origins["files"].url

    @property
    def writes(self) -> list[Call]:
        """Every call that would have changed something on a real index (an upload, say)."""
        return [call for call in self.requests if call.method not in {"GET", "HEAD", "OPTIONS"}]

    def add_release(self, name: str, version: str, **options: Any) -> list[Dist]:  # see Shelf.add
        """A release with real files; see `Shelf.add` for the options."""
        return self.shelf.add(name, version, **options)

    def project(self, name: str, **attributes: Any) -> Project:  # the attributes of Project
        """The project of this name, made if it is new, with these attributes set."""
        return self.shelf.project(name, **attributes)

    def behave(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Beside the faults: `projects`, a list of changes.

        A change is {name, set?: {attribute: value}, yank?: {version: reason}, delete_release?: version, add_release?:
        {version, ...}}.
        """
        rest = dict(wanted)
        for change in rest.pop("projects", []):
            self._change(**change)
        return super().behave(rest)

    def _change(
        self,
        name: str,
        *,
        set: dict[str, Any] | None = None,  # noqa: A002 - the word in the control's JSON
        yank: dict[str, bool | str] | None = None,
        delete_release: str | None = None,
        add_release: dict[str, Any] | None = None,
    ) -> None:
        self.project(name, **(set or {}))
        for version, reason in (yank or {}).items():
            for file in self.project(name).release(version):
                file.yanked = reason
        if delete_release:
            self.shelf.delete_release(name, delete_release)
        if add_release:
            self.add_release(name, **add_release)

    def _index(self, call: Call) -> Reply:
        if call.method not in {"GET", "HEAD"}:
            return text_reply("stand-in: accepted and forgotten")
        match call.segments:
            case ["simple", ""]:
                kind = index_pages.negotiated(call)
                return self._page(call, index_pages.all_projects(self.shelf, kind), kind, 1)
            case ["simple", name] | ["simple", name, ""]:
                return self._simple(call, name)
            case ["pypi", name, "json"]:
                return self._legacy(call, name, None)
            case ["pypi", name, version, "json"]:
                return self._legacy(call, name, version)
            case ["integrity", name, version, filename, "provenance"]:
                return self._provenance(name, version, filename)
            case _:
                return text_reply("404 Not Found", 404)

    def _found(self, name: str) -> Project | None:
        found = self.shelf.projects.get(normalised(name))
        return found.ready() if found is not None else None

    def _simple(self, call: Call, name: str) -> Reply:
        project = self._found(name)
        wanted = f"/simple/{normalised(name)}/"
        if project is None:
            return text_reply("404 Not Found", 404, Cache_Control="max-age=600, public")
        if call.path != wanted:
            return text_reply("301 Moved Permanently", 301, Location=wanted)
        kind = index_pages.negotiated(call)
        marks = f"{project.status}:{len(project.files)}:{sum(bool(file.yanked) for file in project.files)}"
        key = (wanted, project.serial, kind, marks, self.files_url)
        body = self._rendered.get(key)
        if body is None or len(project.files) < 100:  # only pages that are slow to render are kept
            render = index_pages.simple_json if kind == index_pages.JSON else index_pages.simple_html
            body = self._rendered[key] = render(project, self.files_url, self.url)
        return self._page(call, body, kind, project.serial)

    def _page(self, call: Call, body: bytes, kind: str, serial: int) -> Reply:
        tag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        shown = f"{kind}; charset=UTF-8" if kind == "text/html" else kind
        reply = Reply(200, body).with_headers(_PAGE | {"ETag": f'"{tag}"', "Content-Type": shown})
        reply.headers["X-PyPI-Last-Serial"] = str(serial)
        if call.accepts_gzip() and len(body) >= GZIP_FROM:
            reply.body = gzip.compress(body, 1, mtime=0)
            reply.headers["Content-Encoding"] = "gzip"
        return reply

    def _legacy(self, call: Call, name: str, version: str | None) -> Reply:
        project = self._found(name)
        answer = index_pages.legacy(project, version, self.files_url) if project is not None else None
        if project is None or answer is None:
            reply = Reply(404, b'{"message": "Not Found"}')
            return reply.with_headers({"Content-Type": "application/json"})
        if name != normalised(name):
            tail = f"/{version}/json" if version else "/json"
            return text_reply("301 Moved Permanently", 301, Location=f"/pypi/{normalised(name)}{tail}")
        body = json.dumps(answer).encode()
        page = self._page(call, body, "application/json", project.serial)
        return page.with_headers({"Cache-Control": "max-age=900, public"})

    def _provenance(self, name: str, version: str, filename: str) -> Reply:
        project = self._found(name)
        for file in project.release(version) if project else []:
            if file.filename == filename and file.publisher is not None:
                return index_pages.provenance(file)
        missing = Reply(404, json.dumps({"message": f"No provenance available for {filename}"}).encode())
        return missing.with_headers({"Content-Type": "application/json"})

    def _file(self, call: Call) -> Reply:
        if call.method not in {"GET", "HEAD"}:
            return text_reply("405 Method Not Allowed", 405)
        segments = call.segments
        if segments[:2] == ["packages", "source"] and len(segments) == 5:
            return self._source(segments[4])
        path = "/" + "/".join(segments)
        bare = path.removesuffix(".metadata")
        file = self.shelf.by_path.get(bare)
        if file is None or (path != bare and file.metadata is None):
            return text_reply("404 Not Found", 404)
        whole = bare == path
        data = file.data if whole else file.metadata or b""
        tag = file.md5 if whole else hashlib.md5(data, usedforsecurity=False).hexdigest()
        headers = {
            "ETag": f'"{tag}"',
            "Content-Type": "application/octet-stream" if whole else "binary/octet-stream",
            "Cache-Control": "max-age=365000000, immutable, public",
            "Last-Modified": file.uploaded.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            "X-PyPI-File-Version": file.version,
            "X-PyPI-File-Package-Type": file.kind,
        }
        return Reply(200, data, ranged=True).with_headers(headers)

    def _source(self, filename: str) -> Reply:
        """`/packages/source/{p[0]}/{p}/{file}`: 302 to the file's real path."""
        for file in self.shelf.by_path.values():
            if file.filename == filename:
                return text_reply("302 Found", 302, Location=file.path)
        return text_reply("404 Not Found", 404)


def running_index(index: StandInIndex | None = None) -> AbstractContextManager[StandInIndex]:
    """An index in its own thread for tests that are not asynchronous; with the default content unless one is given."""
    from .index_defaults import populate_index  # the default content builds on this module

    return running(index if index is not None else populate_index(StandInIndex()))
