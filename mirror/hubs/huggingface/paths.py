"""One parser from what a client sent to names, and one writer from names to what upstream is asked (P2).

Nothing that a client sent is ever passed on as a path: upstream targets are written anew from parsed names, so what is
judged and what is fetched cannot differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from mirror.core.errors import Malformed
from mirror.core.nouns import Kind, Project

#: The segment in API paths for each kind of repository.
PLURALS: Final = {"models": Kind.MODEL, "datasets": Kind.DATASET, "spaces": Kind.SPACE, "kernels": Kind.KERNEL}
_PLURAL_OF: Final = {kind: plural for plural, kind in PLURALS.items()}
#: First segments that are routes of the hub, never owners or old single names.
_RESERVED: Final = frozenset({*PLURALS, "api", "buckets", "collections", "papers", "v1", "v2"})
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_MAX_PATH: Final = 4096
_MAX_REVISION: Final = 512

#: Building blocks of the route table. A repository's name is one or two raw segments.
REPO: Final = r"(?:(?P<prefix>datasets|spaces|kernels)/)?(?P<repo>[^/]+(?:/[^/]+)?)"
API_REPO: Final = r"/api/(?P<plural>models|datasets|spaces|kernels)/(?P<repo>[^/]+(?:/[^/]+)?)"


@dataclass(frozen=True, slots=True)
class Repo:
    """A repository as somebody called it: the kind and the decoded name, not yet canonical."""

    kind: Kind
    name: str

    @property
    def plural(self) -> str:
        """`models`, `datasets`, `spaces` or `kernels`."""
        return _PLURAL_OF[self.kind]

    @property
    def api(self) -> str:
        """The raw API path of the repository, without what follows."""
        return f"/api/{self.plural}/{self.name}"

    def file(self, verb: str, revision: str, path: str) -> str:
        """The raw path of a file; `verb` is `resolve` or `raw`."""
        prefix = "" if self.kind is Kind.MODEL else f"{self.plural}/"
        return f"/{prefix}{self.name}/{verb}/{revision_segment(revision)}/{quote(path, safe='/')}"

    def git(self, what: str) -> str:
        """The raw path of git's protocol; `what` is `info/refs` or `git-upload-pack`."""
        prefix = "" if self.kind is Kind.MODEL else f"{self.plural}/"
        return f"/{prefix}{self.name}.git/{what}"

    @classmethod
    def of(cls, project: Project) -> Repo:
        """The repository that a canonical project is."""
        return cls(project.kind, project.name)


def parse_repo(raw: str, kind: Kind) -> Repo:
    """A repository from its raw name, one or two segments. Raises `Malformed`."""
    segments = [_decoded(segment, "repository name") for segment in raw.split("/")]
    if not 1 <= len(segments) <= 2 or not all(_NAME.fullmatch(segment) for segment in segments):
        raise Malformed("not a repository name: one or two parts of letters, digits, '-', '_' and '.'")
    if any(segment.endswith(".") or ".." in segment for segment in segments):
        raise Malformed("a repository name has no '..' and does not end in '.'")
    if segments[0].lower() in _RESERVED:
        raise Malformed(f"{segments[0]!r} is not an owner of repositories")
    return Repo(kind, "/".join(segments))


def is_name(name: str) -> bool:
    """Whether the hub could call a repository so: one or two segments, nothing that would need an escape."""
    segments = name.split("/")
    return len(segments) <= 2 and all(_NAME.fullmatch(segment) and ".." not in segment for segment in segments)


def kind_of(groups: dict[str, str | None]) -> Kind:
    """The kind that a route's `prefix` or `plural` group means."""
    word = groups.get("plural") or groups.get("prefix")
    return PLURALS[word] if word else Kind.MODEL


def parse_revision(raw: str) -> str:
    """A branch, tag, full reference or commit from one raw segment (`refs%2Fpr%2F1`). Raises `Malformed`."""
    revision = _decoded(raw, "revision")
    if not revision or len(revision) > _MAX_REVISION:
        raise Malformed("the revision is empty or too long")
    _refuse_segments(revision, "revision")
    return revision


def parse_path(raw: str) -> str:
    """A file or folder path inside a repository, decoded. Raises `Malformed`."""
    path = _decoded(raw, "file path")
    if len(path) > _MAX_PATH:
        raise Malformed("the file path is too long", status=414)
    _refuse_segments(path, "file path")
    return path


def parse_query(raw: str) -> str:
    """A query as it may be sent on, verbatim. Raises `Malformed` for characters that no query has (RFC 3986 3.4)."""
    if not all("!" <= character <= "~" for character in raw) or _ESCAPE.search(raw):
        raise Malformed("the query holds a character that must be escaped, or a broken escape")
    return raw


def revision_segment(revision: str) -> str:
    """A revision as one raw segment."""
    return quote(revision, safe="")


def is_commit(revision: str) -> bool:
    """Whether a revision is a full commit id, which never means anything else later."""
    return _COMMIT.fullmatch(revision) is not None


def with_query(path: str, query: str) -> str:
    """A raw target from path and query."""
    return f"{path}?{query}" if query else path


def _decoded(raw: str, what: str) -> str:
    if _ESCAPE.search(raw):
        raise Malformed(f"the {what} holds a broken percent escape")
    if not all("!" <= character <= "~" for character in raw) or "\\" in raw:
        raise Malformed(f"the {what} holds a character that must be percent-encoded")
    try:
        text = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"the {what} is not UTF-8") from error
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in text):
        raise Malformed(f"the {what} holds a control character")
    return text


def _refuse_segments(text: str, what: str) -> None:
    if any(segment in ("", ".", "..") for segment in text.split("/")):
        raise Malformed(f"the {what} has an empty or dot segment")
