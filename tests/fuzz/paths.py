"""What must hold of everything that is read from a request: targets, names, package URLs, header fields.

Each function takes arbitrary bytes and raises `AssertionError`, or whatever escapes, where a promise does not hold. The
coverage-guided harness and the tests with fixed seeds share them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from urllib.parse import quote, unquote

from packaging.version import Version

from mirror.core import http
from mirror.core.accept import CODINGS, coding
from mirror.core.errors import Malformed
from mirror.core.nouns import Kind
from mirror.core.purl import parse_artifact
from mirror.hubs.huggingface import paths as hub_names
from mirror.hubs.huggingface.routes import table
from mirror.hubs.pypi import paths as index_names
from mirror.hubs.pypi.negotiation import OFFERS, content_type
from mirror.hubs.pypi.routes import PypiDialect, _wanted
from mirror.reply.routing import Route, find, normal_path, under


class _Anyone:
    """Stands for every handler of a table: only its rows are looked at."""

    def __getattr__(self, name: str) -> _Anyone:
        return self


HUB_ROUTES: tuple[Route, ...] = table(_Anyone())
INDEX_ROUTES: tuple[Route, ...] = PypiDialect._table(object.__new__(PypiDialect))
#: A name that is also a verb of the route table can be read in two ways; the table's first reading is judged and fetched.
_VERBS = frozenset(["resolve", "raw", "blob", "info", "git-upload-pack", "git-receive-pack"])
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def clean_segments(text: str) -> bool:
    """Whether a decoded path has neither empty nor dot segments nor control characters."""
    return not _CONTROL.search(text) and all(segment not in ("", ".", "..") for segment in text.split("/"))


def routing(data: bytes) -> None:
    """`METHOD target`: what passes `normal_path` is free of tricks, stays as it is, and finds at most a row that can read it."""
    method, _, target = data.decode("utf-8", "surrogateescape").partition(" ")
    try:
        path, query = normal_path(target)
    except Malformed as error:
        assert 400 <= error.status < 500
        return
    assert path.startswith("/")
    assert "//" not in path
    assert not re.search(r"[\x00-\x20\x7f\\?#]", path)
    assert all(segment not in (".", "..") for segment in re.split("[/]", unquote(path)))
    assert normal_path(path) == (path, "")
    assert normal_path("http://mirror.example" + path + ("?" + query if query else ""))[0] == path
    for mount, routes in (("", HUB_ROUTES), ("/pypi", INDEX_ROUTES), ("", INDEX_ROUTES)):
        below = under(mount, path)
        if below is None:
            continue
        assert below.startswith("/")
        found = find(routes, method, below)
        if isinstance(found, tuple):
            assert method in found[0].methods
            _read_groups(found[1].groupdict(), routes is HUB_ROUTES)


def _read_groups(groups: dict[str, str | None], hub: bool) -> None:
    """What a handler does first with the parts of a path: names come out, or `Malformed`, and nothing else."""
    try:
        if hub and groups.get("repo"):
            hub_names.parse_repo(groups["repo"], hub_names.kind_of({name: groups.get(name) for name in ("plural", "prefix")}))
        if hub and groups.get("rev"):
            assert clean_segments(hub_names.parse_revision(groups["rev"]))
        if hub and groups.get("path"):
            assert clean_segments(hub_names.parse_path(groups["path"]))
    except Malformed as error:
        assert 400 <= error.status < 500
    if not hub and groups.get("file"):
        wanted = _wanted(SimpleNamespace(match=SimpleNamespace(groupdict=lambda: groups)))
        assert wanted is None or (clean_segments(wanted.name) and "/" not in wanted.name)


def hub_paths(data: bytes) -> None:
    """Lines: kind, repository, revision, path: what is parsed can be written, and what is written is read as the same artifact."""
    word, repo_raw, rev_raw, path_raw = [*data.decode("utf-8", "surrogateescape").split("\n"), "", "", "", ""][:4]
    kind = hub_names.PLURALS.get(word, Kind.MODEL)
    try:
        repo, rev, path = hub_names.parse_repo(repo_raw, kind), hub_names.parse_revision(rev_raw), hub_names.parse_path(path_raw)
    except Malformed as error:
        assert 400 <= error.status < 500
        return
    assert clean_segments(repo.name)
    assert clean_segments(rev)
    assert clean_segments(path)
    assert hub_names.parse_revision(hub_names.revision_segment(rev)) == rev
    assert hub_names.parse_path(quote(path, safe="/")) == path
    for verb in ("resolve", "raw"):
        written = repo.file(verb, rev, path)
        if len(written) > 8192:
            continue
        assert normal_path(written) == (written, "")
        found = find(HUB_ROUTES, "GET", written)
        assert isinstance(found, tuple), written
        row, match = found
        if _VERBS.isdisjoint([*repo.name.split("/"), *path.split("/"), rev]):
            assert row.name == verb
            again = hub_names.parse_repo(match["repo"], hub_names.kind_of(match.groupdict()))
            assert (again, hub_names.parse_revision(match["rev"]), hub_names.parse_path(match["path"])) == (repo, rev, path)


def index_paths(data: bytes) -> None:
    """Lines: project, file, URL, version: one canonical name for each spelling, and file paths that read back as themselves."""
    project_raw, file_raw, url, version_raw = [*data.decode("utf-8", "surrogateescape").split("\n"), "", "", "", ""][:4]
    project = index_names.project_name(project_raw)
    if project is not None:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", project), project
        assert index_names.project_name(project) == project
        assert index_names.project_name(project.upper().replace("-", "_")) == project
    version = index_names.version_text(version_raw)
    assert version is None or re.fullmatch(r"[A-Za-z0-9._+!-]+", version)
    name = index_names.file_name(file_raw)
    if name is None:
        return
    assert clean_segments(name)
    assert "/" not in name
    found = list(index_names.candidates(name))
    assert len(found) <= 2 * len(name)
    for one in found:
        assert index_names.project_name(one.project) == one.project
        assert str(Version(one.version)) == one.version
        assert index_names.distribution(name, one.project) is not None
    _file_path_reads_back(name, url, file_raw)


def _file_path_reads_back(name: str, url: str, raw: str) -> None:
    from mirror.hubs.pypi.documents import absolute

    link = absolute(url, "https://index.acme.example/simple/acme/")
    if link is None or name.endswith(index_names.METADATA):
        return
    path = index_names.mirror_path(link, name)
    written = index_names.quoted(path)
    assert normal_path(written) == (written, "")
    row, match = find(INDEX_ROUTES, "GET", written)
    assert row.name in ("file", "mapped-file")
    wanted = _wanted(SimpleNamespace(match=match))
    assert wanted is not None
    assert (wanted.path, wanted.name, wanted.metadata) == (path, name, False)


def purl(data: bytes) -> None:
    """A package URL that is read is written as one that is read as the same; all spellings of an artifact are written alike."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        artifact = parse_artifact(text)
    except ValueError as error:
        assert type(error) is ValueError, repr(error)
        return
    assert clean_segments(artifact.project.name)
    assert not artifact.path or clean_segments(artifact.path)
    assert not _CONTROL.search(artifact.revision)
    written = str(artifact)
    assert written.isascii()
    assert parse_artifact(written) == artifact
    assert str(parse_artifact(written)) == written
    assert len(written) <= 3 * len(text.encode("utf-8", "surrogateescape")) + 20


def header_fields(data: bytes) -> None:
    """Lines: method, size, etag, then six conditional fields and `Accept`: always one of five outcomes, spans inside the size."""
    lines = [*data.decode("latin-1").split("\n"), *[""] * 11][:11]
    method, size_text, etag = lines[0], lines[1], '"' + lines[2].replace('"', "") + '"'
    size = int(size_text[:6]) if size_text[:6].isascii() and size_text[:6].isdigit() else None
    fields = [line or None for line in lines[3:9]]
    last = datetime(2026, 11, 22, 10, 0, 0, 5, tzinfo=UTC)
    outcome = http.select(method, http.Conditions(*fields), etag=etag, last_modified=last, size=size)
    if isinstance(outcome, http.Partial):
        assert size
        assert method == "GET"
        assert 1 <= len(outcome.spans) <= http.MAX_RANGES
        ordered = sorted(outcome.spans, key=lambda span: span.start)
        assert all(0 <= span.start < span.stop <= size for span in ordered)
        assert all(one.stop <= other.start for one, other in zip(ordered, ordered[1:], strict=False))
        for span in ordered:
            assert http.parse_content_range(http.content_range(span, size)) == (span, size)
    for text in lines:
        moment = http.parse_date(text)
        assert moment is None or moment.tzinfo is UTC
        # The form has four digits for a year; earlier ones are written differently from platform to platform.
        assert moment is None or moment.year < 1000 or http.parse_date(http.http_date(moment)) == moment
        found = http.parse_content_range(text)
        assert found is None or len(found[0])
        http.matches(text, etag, weak=True)
    assert content_type(lines[9]) in OFFERS
    assert coding(lines[10]) in (*CODINGS, "identity")
    status = http.cache_status("hit", verified=False, detail=lines[9])
    assert status.isascii()
    assert status.isprintable()
