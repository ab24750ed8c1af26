"""What a stand-in hub holds: repositories with real git ids, their history, their names and who may read them."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from .gitobjects import commit_body, git_oid, lfs_pointer, tree_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

KINDS: Final = {"models": "model", "datasets": "dataset", "spaces": "space", "kernels": "kernel"}
_START: Final = datetime(2024, 3, 1, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class File:
    """One file of one commit. `oid` is git's (of the pointer for a large file), `sha256` is of the content.

    Digests are computed once: a bench asks for the same large file many times.
    """

    data: bytes
    lfs: bool = False

    @cached_property
    def sha256(self) -> str:
        """The digest of the content, which is also the LFS oid."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def in_git(self) -> bytes:
        """What the git tree holds: the content, or the pointer to it."""
        return lfs_pointer(self.sha256, len(self.data)) if self.lfs else self.data

    @cached_property
    def oid(self) -> str:
        """The git blob id, 40 hex digits."""
        return git_oid("blob", self.in_git)

    @cached_property
    def xet(self) -> str:
        """A plausible Xet file hash: 64 hex digits that are not the SHA-256."""
        return hashlib.blake2b(b"xet" + self.data, digest_size=32).hexdigest()

    @cached_property
    def cdn_etag(self) -> str:
        """The CDN's own ETag: 64 hex digits that are neither the SHA-256 nor the Xet hash."""
        return hashlib.blake2s(b"cdn" + self.data).hexdigest()


@dataclass(slots=True)
class Commit:
    """One revision: an immutable set of files."""

    id: str
    title: str
    at: datetime
    parent: str | None
    files: dict[str, File]
    tree: str
    trees: dict[str, bytes]
    folders: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Repo:
    """A repository. Change the attributes at any time: the next answer follows them."""

    kind: str  # models, datasets, spaces, kernels
    name: str
    hub_id: str
    created: datetime
    gated: str | bool = False  # False, "auto", "manual"
    private: bool = False
    disabled: str | bool = False  # False, True (refused everywhere), "info" (information says so, contents refused)
    region_block: list[str] = field(default_factory=list)  # countries; "*" is everywhere
    tokens_allowed: set[str] = field(default_factory=set)
    card: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)  # further keys of the repository information
    downloads: int = 42
    likes: int = 7
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    git_tags: dict[str, str] = field(default_factory=dict)
    converts: dict[str, str] = field(default_factory=dict)
    pull_requests: dict[str, str] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The commit of `main`."""
        return self.branches["main"]

    @property
    def prefix(self) -> str:
        """What file URLs put before the name: nothing for models."""
        return "" if self.kind == "models" else f"{self.kind}/"

    @property
    def author(self) -> str | None:
        """The owner part of the name; None for the old names of one segment."""
        owner, slash, _ = self.name.partition("/")
        return owner if slash else None

    @property
    def modified(self) -> datetime:
        """When `main` last moved."""
        return self.commits[self.head].at

    def resolve(self, revision: str) -> Commit | None:
        """A branch, tag, full reference, commit or short commit (7 or more hex digits); `HEAD` is the default branch."""
        revision = "main" if revision == "HEAD" else revision
        for refs, where in (
            (self.branches, "refs/heads/"),
            (self.git_tags, "refs/tags/"),
            (self.converts, "refs/convert/"),
            (self.pull_requests, "refs/pr/"),
        ):
            short = revision.removeprefix(where)
            if (short != revision or where in {"refs/heads/", "refs/tags/"}) and short in refs:
                return self.commits[refs[short]]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            found = [commit for oid, commit in self.commits.items() if oid.startswith(revision)]
            return found[0] if len(found) == 1 else None
        return None

    def history(self, commit: Commit) -> list[Commit]:
        """The commit and its ancestors, newest first."""
        line = [commit]
        while line[-1].parent is not None:
            line.append(self.commits[line[-1].parent])
        return line

    def push(
        self,
        files: Mapping[str, bytes] | None = None,
        lfs: Mapping[str, bytes] | None = None,
        *,
        delete: Iterable[str] = (),
        ref: str = "main",
        title: str = "Upload files",
    ) -> Commit:
        """A new commit on a branch, `refs/pr/N` or `refs/convert/X`; starts from `main` where that reference is new."""
        refs, short = self.ref_table(ref)
        parent = refs.get(short) or self.branches.get("main")
        held = dict(self.commits[parent].files) if parent else {}
        held.update({path: File(data) for path, data in (files or {}).items()})
        held.update({path: File(data, lfs=True) for path, data in (lfs or {}).items()})
        for path in delete:
            del held[path]
        at = self.created + timedelta(hours=len(self.commits) + 1)
        root, trees, folders = tree_objects({path: file.oid for path, file in held.items()})
        body = commit_body(root, parent, title, int(at.timestamp()))
        commit = Commit(git_oid("commit", body), title, at, parent, held, root, trees, folders, body)
        self.commits[commit.id] = commit
        refs[short] = commit.id
        return commit

    def ref_table(self, ref: str) -> tuple[dict[str, str], str]:
        """The table that holds a reference and its short name there."""
        for prefix, table in (("refs/pr/", self.pull_requests), ("refs/convert/", self.converts)):
            if ref.startswith(prefix):
                return table, ref.removeprefix(prefix)
        if ref.startswith("refs/tags/"):
            return self.git_tags, ref.removeprefix("refs/tags/")
        return self.branches, ref.removeprefix("refs/heads/")


class World:
    """All repositories by kind and case-folded name, all old names, and all tokens."""

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed
        self.tokens: dict[str, str] = {}  # token -> user
        self.repos: dict[tuple[str, str], Repo] = {}
        self.old_names: dict[tuple[str, str], str] = {}
        self._count = 0

    def add_token(self, token: str, user: str) -> str:
        """Make a token valid; every other token is answered 401."""
        self.tokens[token] = user
        return token

    def add(
        self,
        kind: str,
        name: str,
        files: Mapping[str, bytes] | None = None,
        lfs: Mapping[str, bytes] | None = None,
        **options: Any,  # the attributes of Repo
    ) -> Repo:
        """A new repository with one commit, or a newcomer (another `hub_id`) on a name that is taken.

        `kind` is `model` or `models` and so on. `renamed_from` lists old names (which answer with redirects),
        `branches` maps further references to {path: bytes}, `git_tags` maps tags to references or commits.
        """
        plural = kind if kind in KINDS else f"{kind}s"
        if plural not in KINDS:
            msg = f"no kind of repository is called {kind!r}"
            raise ValueError(msg)
        renamed_from, branches = options.pop("renamed_from", ()), options.pop("branches", {})
        git_tags = options.pop("git_tags", {})
        self._count += 1
        hub_id = hashlib.sha256(f"{self.seed}:{self._count}:{plural}:{name}".encode()).hexdigest()[:24]
        repo = Repo(plural, name, hub_id, options.pop("created", _START + timedelta(days=self._count)))
        for key in ("tokens_allowed", "region_block", "tags"):
            if key in options:
                setattr(repo, key, type(getattr(repo, key))(options.pop(key)))
        for key, value in options.items():
            setattr(repo, key, value)  # slots: a misspelt option is an AttributeError
        repo.push(files, lfs, title="initial commit")
        for ref, more in branches.items():
            repo.push(more, ref=ref, title=f"Start {ref}")
        for tag, target in git_tags.items():
            found = repo.resolve(target)
            repo.git_tags[tag] = found.id if found else repo.head
        self.repos[plural, name.lower()] = repo
        self.old_names.pop((plural, name.lower()), None)
        for old in renamed_from:
            self.old_names[plural, old.lower()] = name
        return repo

    def rename(self, kind: str, name: str, new_name: str) -> Repo:
        """Move a repository; its old name redirects from now on, until somebody else takes it."""
        repo = self.repos.pop((kind, name.lower()))
        repo.name = new_name
        self.repos[kind, new_name.lower()] = repo
        self.old_names[kind, name.lower()] = new_name
        return repo

    def remove(self, kind: str, name: str) -> None:
        """Delete a repository: from now on it is as if it had never been."""
        del self.repos[kind, name.lower()]

    def find(self, kind: str, name: str) -> Repo | None:
        """The repository a name leads to, by any case and through old names."""
        key = (kind, name.lower())
        hops = 0
        while key not in self.repos and key in self.old_names and hops < 10:  # no endless renames
            key, hops = (kind, self.old_names[key].lower()), hops + 1
        return self.repos.get(key)

    def repo(self, name: str, kind: str = "models") -> Repo:
        """The repository of this name; KeyError when there is none."""
        found = self.find(kind if kind in KINDS else f"{kind}s", name)
        if found is None:
            raise KeyError(name)
        return found
