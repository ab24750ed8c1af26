"""Upstream's project pages, decoded: strict about what rules and clients rely on, open to keys of later API versions.

JSON (PEP 691) is always preferred, because `upload-time`, `size` and `versions` exist there only; an upstream that
gives HTML alone is read by `anchors`. Either way every key that upstream sent stays in `raw`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from packaging.utils import canonicalize_name, canonicalize_version

from mirror.core.errors import UpstreamGarbage
from mirror.core.nouns import Digest, FileKind
from mirror.decode import parse_json
from mirror.hubs.pypi.paths import METADATA, Distribution, distribution, is_file_name, mirror_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

JSON_V1: Final = "application/vnd.pypi.simple.v1+json"
HTML_V1: Final = "application/vnd.pypi.simple.v1+html"
HTML: Final = "text/html"
#: What upstream is asked for: the richest form first.
UPSTREAM_ACCEPT: Final = f"{JSON_V1}, {HTML_V1};q=0.2, {HTML};q=0.01"
QUARANTINED: Final = "quarantined"
_METADATA_KEYS: Final = ("core-metadata", "dist-info-metadata", "data-dist-info-metadata")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
#: What no URL holds unescaped and no request can carry; the last range is halves of surrogate pairs.
_UNLINKABLE: Final = re.compile('[\x00-\x20\x7f\\\\"<>\ud800-\udfff]')


@dataclass(frozen=True, slots=True)
class Listed:
    """One file of a project page.

    `path` is its canonical mirror path; `url` the absolute upstream URL without fragment. `distribution` is None where
    the name says nothing that a rule could trust: such a file is never served. `has_metadata` says that upstream
    advertises the core metadata file, `metadata` is the digest it declares for it; with `made` both speak of metadata that
    this mirror made from the wheel, and `unverified` says that the wheel itself was not here yet. `raw` is upstream's own
    object.
    """

    name: str
    url: str
    path: str
    distribution: Distribution | None
    sha256: Digest | None
    size: int | None
    published_at: datetime | None
    yanked: bool
    has_metadata: bool
    metadata: Digest | None
    provenance: str | None
    raw: Mapping[str, Any]
    made: bool = False
    unverified: bool = False

    @property
    def lacks_metadata(self) -> bool:
        """Whether metadata may be made here: a wheel that its page pins, whose metadata the index does not offer."""
        made = self.distribution
        return made is not None and made.kind is FileKind.WHEEL and self.sha256 is not None and not self.has_metadata

    @property
    def metadata_url(self) -> str:
        """Where upstream keeps the core metadata (PEP 658: the file's URL with `.metadata` appended)."""
        path, mark, query = self.url.partition("?")
        return f"{path}{METADATA}{mark}{query}"


@dataclass(frozen=True, slots=True)
class Page:
    """A project's page. `api_version` is what may honestly be sent on; `status` the PEP 792 marker.

    `raw` holds upstream's members other than `files`. `left_out` counts files whose link or name could not be passed on;
    `lacking` says that a file `lacks_metadata`.
    """

    project: str
    files: tuple[Listed, ...]
    status: str
    api_version: str
    raw: Mapping[str, Any]
    left_out: int
    by_path: Mapping[str, Listed]
    by_name: Mapping[str, Listed]
    lacking: bool = False

    @property
    def quarantined(self) -> bool:
        """Whether the index itself withholds the project (PEP 792)."""
        return self.status == QUARANTINED

    def releases(self, version: str) -> bool:
        """Whether the page tells of this release, however it spells it."""
        told = self.raw.get("versions")
        known = {file.distribution.version for file in self.files if file.distribution is not None}
        known |= {one for one in told if isinstance(one, str)} if isinstance(told, list) else set()
        return canonicalize_version(version) in {canonicalize_version(one) for one in known}


def decode_page(body: bytes, url: str, project: str, upstream: str) -> Page:
    """A PEP 691 page. `url` is where it was found (links may be relative), `project` the normalised name asked for.

    Raises `UpstreamGarbage` naming the fault.
    """
    raw = decode_object(body, upstream)
    name = _member(raw, "name", str, upstream)
    if canonicalize_name(name) != project:
        raise UpstreamGarbage(upstream, f"the page of {project!r} says that it is of {name[:80]!r}")
    files = _member(raw, "files", list, upstream)
    return build_page(project, raw, files, url, upstream)


def decode_object(body: bytes, upstream: str) -> dict[str, Any]:
    """A JSON object from upstream, or `UpstreamGarbage`."""
    try:
        raw = parse_json(body)
    except ValueError as error:
        raise UpstreamGarbage(upstream, f"the answer is not JSON: {str(error)[:120]}") from None
    if not isinstance(raw, dict):
        raise UpstreamGarbage(upstream, "the answer is not a JSON object")
    return raw


def build_page(project: str, raw: Mapping[str, Any], files: Iterable[Any], url: str, upstream: str) -> Page:
    """A page from its members; shared by the JSON and the HTML reader."""
    version = _api_version(raw, upstream)
    versions = _versions(raw, upstream)
    listed: dict[str, Listed] = {}
    paths: dict[str, Listed] = {}
    left_out = 0
    for number, entry in enumerate(files):
        if not isinstance(entry, dict):
            raise UpstreamGarbage(upstream, f"files[{number}] is not an object")
        file = _listed(entry, f"files[{number}].", url, project=project, versions=versions, upstream=upstream)
        # The first of two files of one name stands: an artifact is known by project, version and file name.
        if file is None or file.name in listed or file.path in paths:
            left_out += 1
            continue
        listed[file.name] = paths[file.path] = file
    members = {key: value for key, value in raw.items() if key != "files"}
    status = raw.get("project-status")
    marker = status.get("status") if isinstance(status, dict) else None
    return Page(
        project=project,
        files=tuple(listed.values()),
        status=marker if isinstance(marker, str) else "active",
        api_version=_honest(version, "versions" in raw, listed.values()),
        raw=MappingProxyType(members),
        left_out=left_out,
        by_path=MappingProxyType(paths),
        by_name=MappingProxyType(listed),
        lacking=any(file.lacks_metadata for file in listed.values()),
    )


def _listed(
    entry: dict[str, Any], where: str, page: str, *, project: str, versions: frozenset[str], upstream: str
) -> Listed | None:
    name = _member(entry, "filename", str, upstream, where)
    link = _member(entry, "url", str, upstream, where)
    hashes = entry.get("hashes", {})
    if not isinstance(hashes, dict):
        raise UpstreamGarbage(upstream, f"{where}hashes is not an object")
    url = absolute(link, page)
    if url is None or not is_file_name(name):
        return None
    sha256 = hashes.get("sha256")
    size = entry.get("size")
    yanked = entry.get("yanked", False)
    metadata = next((entry[key] for key in _METADATA_KEYS if entry.get(key)), None)
    provenance = entry.get("provenance")
    return Listed(
        name=name,
        url=url,
        path=mirror_path(url, name),
        distribution=distribution(name, project, versions),
        sha256=digest(sha256),
        # RFC 7493 section 2.2: no larger number is held exactly by JSON readers, records and indexes.
        size=size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size < 2**53 else None,
        published_at=moment(entry.get("upload-time")),
        # An empty reason still yanks (PEP 592: the attribute may be empty; PEP 691: any string counts).
        yanked=isinstance(yanked, str) or yanked is True,
        has_metadata=metadata is not None,
        metadata=digest(metadata.get("sha256")) if isinstance(metadata, dict) else None,
        provenance=absolute(provenance, page) if isinstance(provenance, str) else None,
        raw=MappingProxyType(entry),
    )


def absolute(link: str, page: str) -> str | None:
    """A link against the page it stands on, without fragment; None unless it is http(s), names a host and carries no userinfo."""
    if _UNLINKABLE.search(link.strip()):
        return None
    try:
        url = urljoin(page, link.strip()).partition("#")[0]
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is none
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
        return None
    return url


def digest(value: object) -> Digest | None:
    """A SHA-256 that upstream declares, or None where it is not one."""
    text = value.lower() if isinstance(value, str) else ""
    return Digest("sha256", text) if _SHA256.fullmatch(text) else None


def moment(value: object) -> datetime | None:
    """An `upload-time` (PEP 700: ISO 8601, UTC) as an aware datetime; None where it is absent or not a time."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (ValueError, OverflowError):  # the latter: year 1 or 9999 with an offset that leads out of the calendar
        return None


def _member(raw: Mapping[str, Any], key: str, kind: type, upstream: str, where: str = "") -> Any:
    value = raw.get(key)
    if not isinstance(value, kind):
        raise UpstreamGarbage(upstream, f"{where}{key} is missing or not a {kind.__name__}")
    return value


def _api_version(raw: Mapping[str, Any], upstream: str) -> str:
    meta = raw.get("meta")
    version = meta.get("api-version") if isinstance(meta, dict) else None
    # PEP 629: another major version means that nothing may be assumed.
    if not isinstance(version, str) or re.fullmatch(r"1\.[0-9]{1,4}", version) is None:
        raise UpstreamGarbage(upstream, f"meta.api-version {str(version)[:40]!r} is not 1.x")
    return version


def _versions(raw: Mapping[str, Any], upstream: str) -> frozenset[str]:
    versions = raw.get("versions", [])
    if not isinstance(versions, list) or not all(isinstance(version, str) for version in versions):
        raise UpstreamGarbage(upstream, "versions is not a list of strings")
    return frozenset(canonicalize_version(version) for version in versions)


def _honest(version: str, has_versions: bool, files: Iterable[Listed]) -> str:
    """PEP 700: 1.1 and later promise `versions` and a `size` for every file; 1.0 is said where either is missing."""
    return version if has_versions and all(file.size is not None for file in files) else "1.0"
