"""What the hub's pages say, as nouns. Everything that does not fit is the upstream's fault and says so.

The judging page of a repository is `GET /api/{T}/ID[/revision/REV]?blobs=true`: one answer with the canonical name, the
hub's own id, the commit, every file with size and digest, and what the hub itself restricts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.errors import HubSaysNo, UpstreamGarbage
from mirror.core.nouns import HUGGINGFACE, Artifact, Digest, Document, Kind, Project
from mirror.decode import parse_json
from mirror.hubs.huggingface.paths import is_commit, is_name

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mirror.core.ports import Answer

DISABLED: Final = "Access to this resource is disabled."
BAD_TOKEN: Final = "Invalid credentials"  # noqa: S105 - the beginning of the hub's message
_REGION: Final = re.compile(r"not available in your (?:region|country|location|jurisdiction)", re.IGNORECASE)
#: An empty, `.` or `..` segment: no tree of git has one (git-check-ref-format aside, `verify_path` refuses them).
_NO_FILE: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|$)")
#: The largest number that JSON readers and records hold exactly (RFC 7493 section 2.2), and a length below it.
LARGEST: Final = 2**53 - 1
_LENGTH: Final = re.compile(r"[0-9]{1,15}")


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of one commit. `oid` is the git blob id, `sha256` the LFS digest; `size` is of the content."""

    path: str
    size: int | None
    oid: str | None
    sha256: str | None

    @property
    def etag(self) -> str | None:
        """The entity tag the hub gives, without quotes: the LFS digest, else the git id."""
        return self.sha256 or self.oid

    @property
    def declared(self) -> Digest | None:
        """What the bytes must be, or None where the hub promises nothing."""
        if self.sha256:
            return Digest("sha256", self.sha256)
        return Digest("git-sha1", self.oid) if self.oid else None


@dataclass(frozen=True, slots=True)
class RepoPage:
    """A repository at one commit, as the hub described it to whoever `scope` stands for ("" is anybody)."""

    project: Project
    commit: str
    gated: str
    private: bool
    disabled: bool
    created_at: datetime | None
    tags: tuple[str, ...]
    card: Mapping[str, Any]
    files: Mapping[str, HubFile]
    data: Mapping[str, Any] = field(repr=False)
    document: Document = field(repr=False)
    gone: bool = False  # the hub no longer shows it to anybody; this is how it was last seen

    @property
    def public(self) -> bool:
        """Whether the hub gives the contents to anybody: not private, not gated, not disabled."""
        return not self.private and self.gated == "false" and not self.disabled

    @property
    def restriction(self) -> str:
        """What the hub itself put on it, to be remembered with the bytes (P11)."""
        words = ("private" if self.private else "", "gated" if self.gated != "false" else "", "disabled" if self.disabled else "")
        return ",".join(word for word in words if word)

    def paths_of(self, sha256: Collection[str]) -> dict[str, list[str]]:
        """The files that have one of these LFS digests, by digest; one digest may have several names."""
        found: dict[str, list[str]] = {}
        for path, file in self.files.items():
            if file.sha256 is not None and file.sha256 in sha256:
                found.setdefault(file.sha256, []).append(path)
        return found

    def artifact(self, path: str = "") -> Artifact:
        """A file of this commit; the empty path is the repository as a whole."""
        return Artifact(self.project, self.commit, path)


def load_json(page: Document | Answer, upstream: str) -> Any:
    """The page as JSON. Raises `UpstreamGarbage`."""
    try:
        return parse_json(page.body)
    except ValueError as error:
        what = page.key.target.partition("?")[0] if isinstance(page, Document) else page.url
        raise UpstreamGarbage(upstream, f"answered {what} with what is not JSON") from error


def parse_page(document: Document, hub: str, kind: Kind, upstream: str) -> RepoPage:
    """The judging page. Raises `UpstreamGarbage` where a part that decisions rest on is missing or of another type."""
    data = load_json(document, upstream)
    target = document.key.target.partition("?")[0]

    def need(key: str, kinds: type | tuple[type, ...]) -> Any:
        value = data.get(key)
        if not isinstance(value, kinds) or value == "":
            raise UpstreamGarbage(upstream, f"its page {target} has no usable {key!r}")
        return value

    if not isinstance(data, dict):
        raise UpstreamGarbage(upstream, f"its page {target} is not an object")
    name, commit = need("id", str), need("sha", str)
    # They go into targets, headers and records as they are.
    if not is_name(name) or not is_commit(commit):
        raise UpstreamGarbage(upstream, f"its page {target} has an 'id' or 'sha' that no repository has")
    hub_id = data.get("_id")
    project = Project(HUGGINGFACE, kind, name, hub, hub_id if isinstance(hub_id, str) and hub_id else None)
    gated = data.get("gated", False)
    if gated not in (False, None, "auto", "manual"):
        gated = "manual"  # an unknown gate is a gate
    listed = data.get("siblings")
    files = _files([] if listed is None else listed, upstream, target)
    card = data.get("cardData")
    return RepoPage(
        project=project,
        commit=commit,
        gated=gated or "false",
        private=data.get("private", False) is not False,
        disabled=data.get("disabled", False) not in (False, None),
        created_at=parse_time(data.get("createdAt")),
        tags=tuple(tag for tag in _list(data.get("tags")) if isinstance(tag, str)),
        card=card if isinstance(card, dict) else {},
        files=files,
        data=data,
        document=document,
    )


def row_page(row: Any, document: Document, hub: str, kind: Kind) -> RepoPage | None:
    """A row of a listing as far as it tells what a judging page tells: no files, and where it does not say it no commit.

    None where it names no repository.
    """
    name = row.get("id") if isinstance(row, dict) else None
    if not isinstance(name, str) or not name:
        return None
    hub_id, commit, card, gated = row.get("_id"), row.get("sha"), row.get("cardData"), row.get("gated", False)
    return RepoPage(
        project=Project(HUGGINGFACE, kind, name, hub, hub_id if isinstance(hub_id, str) and hub_id else None),
        commit=commit if isinstance(commit, str) else "",
        gated="false" if gated in (False, None) else gated if gated in ("auto", "manual") else "manual",
        private=row.get("private", False) is not False,
        disabled=row.get("disabled", False) not in (False, None),
        created_at=parse_time(row.get("createdAt")),
        tags=tuple(tag for tag in _list(row.get("tags")) if isinstance(tag, str)),
        card=card if isinstance(card, dict) else {},
        files={},
        data=row,
        document=document,
    )


def _files(rows: Any, upstream: str, target: str) -> dict[str, HubFile]:
    if not isinstance(rows, list):
        raise UpstreamGarbage(upstream, f"its page {target} has no usable 'siblings'")
    files: dict[str, HubFile] = {}
    for row in rows:
        path = row.get("rfilename") if isinstance(row, dict) else None
        if not isinstance(path, str) or _NO_FILE.search(path):
            raise UpstreamGarbage(upstream, f"its page {target} lists a file without a name that git could hold")
        lfs = row.get("lfs") if isinstance(row.get("lfs"), dict) else {}
        size = lfs.get("size", row.get("size"))
        files[path] = HubFile(
            path,
            size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= LARGEST else None,
            _hexadecimal(row.get("blobId"), 40),
            _hexadecimal(lfs.get("sha256") or lfs.get("oid"), 64),
        )
    return files


def _hexadecimal(value: Any, length: int) -> str | None:
    if not isinstance(value, str) or len(value) != length or not all(c in "0123456789abcdefABCDEF" for c in value):
        return None
    return value.lower()


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def parse_time(value: Any) -> datetime | None:
    """A time as the hub writes it, in UTC; None for anything else."""
    try:
        moment = datetime.fromisoformat(value)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError):  # the last: year 1 or 9999 with an offset that leads out of the calendar
        return None


def file_from_headers(path: str, document: Document | Answer) -> HubFile | None:
    """A file as the answer to HEAD on it describes it, or None where it names no entity."""
    linked = (document.header("x-linked-etag") or "").removeprefix("W/").strip('"')
    plain = (document.header("etag") or "").removeprefix("W/").strip('"')
    sha256 = _hexadecimal(linked, 64)
    oid = None if sha256 else _hexadecimal(linked or plain, 40)
    length = document.header("x-linked-size") or (None if sha256 else document.header("content-length"))
    size = int(length) if length is not None and _LENGTH.fullmatch(length) else None
    return HubFile(path, size, oid, sha256) if sha256 or oid else None


def says_no(document: Document | Answer) -> HubSaysNo:
    """The hub's own no, ready to be replayed."""
    code, message = document.header("x-error-code") or "", document.header("x-error-message") or ""
    if not message:
        try:
            said = parse_json(document.body)
            message = said["error"] if isinstance(said, dict) and isinstance(said.get("error"), str) else ""
        except ValueError:
            message = ""
    commit = document.header("x-repo-commit") or ""
    return HubSaysNo(document.status, code, message, cause(document.status, code, message), commit)


def cause(status: int, code: str, message: str) -> str:
    """Our one word for why the hub refused (`core.errors.HubSaysNo`)."""
    if status == 451 or _REGION.search(message):  # RFC 7725: withheld by law from whoever asks from where we are
        return "region"
    if message == DISABLED:
        return "disabled"
    if message.startswith(BAD_TOKEN):
        return "credentials"
    known = {"GatedRepo": "gated", "RevisionNotFound": "missing_revision", "EntryNotFound": "missing_entry", "RepoNotFound": "missing_repo"}
    if code in known:
        return known[code]
    return "private" if status == 401 else "missing_repo" if status == 404 else "other"


#: How long a page that can change is good without asking again, and one whose commit cannot.
MOVING: Final = timedelta(seconds=60)
PINNED: Final = timedelta(minutes=5)
LISTED: Final = timedelta(hours=1)
