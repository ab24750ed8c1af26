"""What passes through the mirror: projects, artifacts, digests, blobs, documents.

`str()` of a `Project` and of an `Artifact` is a package URL (https://github.com/package-url/purl-spec), the name
that policies, the ledger and people use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import quote

HUGGINGFACE: Final = "huggingface"
PYPI: Final = "pypi"

#: What a package URL leaves readable in each part; everything else is percent-encoded.
_NAME_SAFE: Final = "/-._~"
_VERSION_SAFE: Final = "-._~!+"
_PATH_SAFE: Final = "/-._~!$&'()*+,;=:@"
_VALUE_SAFE: Final = _PATH_SAFE.replace("&", "")  # which separates qualifiers


class Kind(StrEnum):
    """What sort of repository a project is (SURFACE 4, condition `type`)."""

    MODEL = "model"
    DATASET = "dataset"
    SPACE = "space"
    KERNEL = "kernel"
    PACKAGE = "package"


class FileKind(StrEnum):
    """What sort of file an artifact is (SURFACE 4, condition `kind`)."""

    WEIGHTS = "weights"
    CODE = "code"
    CONFIG = "config"
    TOKENIZER = "tokenizer"
    DATA = "data"
    WHEEL = "wheel"
    SDIST = "sdist"
    METADATA = "metadata"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Project:
    """A repository or a package under its canonical name.

    `ecosystem` is the package URL's type. `hub` is the configured instance that serves it (`hubs.<name>`); it tells
    two indexes of one ecosystem apart in the cache and never appears in the package URL. `hub_id` is the hub's own
    immutable id (`_id` on Hugging Face): a name that changes hands keeps nothing, because rights and entries are
    kept under this id. Neither takes part in equality of names: two spellings of one project are equal.
    """

    ecosystem: str
    kind: Kind
    name: str
    hub: str = field(default="", compare=False)
    hub_id: str | None = field(default=None, compare=False)

    @property
    def owner(self) -> str:
        """The name space before the slash; the whole name where there is none (`gpt2`, a PyPI project)."""
        return self.name.partition("/")[0]

    @property
    def identity(self) -> str:
        """The key under which rights and cached entries are kept: instance, kind, and the hub's id or the name."""
        return f"{self.hub or self.ecosystem}:{self.kind}:{self.hub_id or self.name.casefold()}"

    def __str__(self) -> str:
        suffix = "" if self.kind in (Kind.MODEL, Kind.PACKAGE) else f"?repo_type={self.kind}"
        return f"pkg:{self.ecosystem}/{quote(self.name, safe=_NAME_SAFE)}{suffix}"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of one immutable revision: a commit and a path, or a version and a file name.

    `path` is decoded text, `/`-separated, relative, without dot segments; the dialect's parser is the only maker.
    An empty `path` is the project at that revision as a whole (its API answers).
    """

    project: Project
    revision: str
    path: str

    @property
    def name(self) -> str:
        """The last segment of the path."""
        return self.path.rpartition("/")[2]

    @property
    def identity(self) -> str:
        """The key of the cached entry."""
        return f"{self.project.identity}@{self.revision}#{self.path}"

    def __str__(self) -> str:
        project = self.project
        base = f"pkg:{project.ecosystem}/{quote(project.name, safe=_NAME_SAFE)}"
        version = f"@{quote(self.revision, safe=_VERSION_SAFE)}" if self.revision else ""
        if project.ecosystem == PYPI:
            return f"{base}{version}" + (f"?file_name={quote(self.path, safe=_VALUE_SAFE)}" if self.path else "")
        qualifier = "" if project.kind is Kind.MODEL else f"?repo_type={project.kind}"
        return f"{base}{version}{qualifier}" + (f"#{quote(self.path, safe=_PATH_SAFE)}" if self.path else "")


@dataclass(frozen=True, slots=True)
class Digest:
    """A hash that a hub declares or that we computed: `sha256`, or `git-sha1` (a git blob's object id)."""

    algorithm: str
    hex: str

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


@dataclass(frozen=True, slots=True)
class Blob:
    """Immutable bytes named by their SHA-256; `size` in bytes."""

    digest: Digest
    size: int


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open byte range `[start, stop)`."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not a byte range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """What makes two upstream pages the same page: the instance, the request line, and who may see the answer.

    `scope` is empty for an answer that anybody may see, else the fingerprint of the credential it was given to.
    `variant` holds whatever else the answer depends on (a form body's digest, a user agent class).
    """

    hub: str
    target: str
    scope: str = ""
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A mutable upstream page, kept verbatim. `status` may be a negative answer; `headers` have lower-case names.

    `body` is what upstream sent after its content coding was removed; `digest` is the SHA-256 of `body`.
    `fetched_at` is when upstream last vouched for it (200 or 304); fresh until `fetched_at + max_age`;
    `max_age` None means immutable.
    """

    key: DocumentKey
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    digest: Digest
    fetched_at: datetime
    max_age: timedelta | None

    def header(self, name: str) -> str | None:
        """The first value of header `name` (lower case), or None."""
        return next((value for key, value in self.headers if key == name), None)

    def fresh(self, now: datetime) -> bool:
        """Whether upstream need not be asked at `now` (RFC 9111 section 4.2).

        A page from the future - the machine's clock was wrong when it was fetched - is no fresher than one from the past.
        """
        return self.max_age is None or abs(now - self.fetched_at) < self.max_age


@dataclass(frozen=True, slots=True)
class Entry:
    """A name joined to bytes: which blob an artifact is, with the headers of the hub's answer worth replaying.

    `declared` is the digest that the hub promised (None: it promised none, and the blob's own was recorded).
    `restriction` remembers what the hub itself put on it (P11): `gated`, `private`, `region:XX,YY`, ….
    """

    artifact: Artifact
    blob: Blob
    headers: tuple[tuple[str, str], ...]
    stored_at: datetime
    declared: Digest | None = None
    restriction: str = ""
