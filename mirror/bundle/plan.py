"""From wants and the mirror's own answers to files, and from files to pins. Pure.

A file is asked for at the mirror's own URL, so what is planned here is judged, recorded and verified like every request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from mirror.bundle.wants import RepoWant, exact, selected
from mirror.core.nouns import PYPI, Artifact, Kind, Project
from mirror.core.ports import Pin
from mirror.core.purl import normalise_pypi
from mirror.hubs.huggingface.paths import Repo, is_commit

#: A page of the mirror with this preference (RFC 7240) names in its body what policy left out of it.
PREFERENCE: Final = "left-out"
#: Also what a model was made from, by all that the mirror knows of it.
WITH_ANCESTORS: Final = "left-out, ancestors"
LEFT_OUT: Final = "leftOut"
_BETWEEN: Final = "; "


class State(StrEnum):
    """What became of something that is wanted."""

    HERE = "here"  # was stored before
    FETCHED = "fetched"
    ABSENT = "absent"  # a dry run: would be fetched
    REFUSED = "refused"  # by policy
    WITHHELD = "withheld"  # by the hub, from this credential
    MISSING = "missing"  # there is no such thing
    UNKEPT = "unkept"  # came, and the cache has no room for it
    FAILED = "failed"

    @property
    def fine(self) -> bool:
        """Whether nothing is wrong with it."""
        return self in (State.HERE, State.FETCHED, State.ABSENT)


@dataclass(frozen=True, slots=True)
class WantedFile:
    """One file at the mirror.

    `target` is the raw path of the URL, `size` in bytes where it is told, `sha256` (hex) what the bytes must be where that
    is to be checked here, `pin` the pattern that keeps it ("": one of its repository does), `beside` the targets of small
    things that belong to it, `hub` whether the hub's credential and host go with the request.
    """

    artifact: Artifact
    target: str
    size: int | None = None
    sha256: str | None = None
    pin: str = ""
    beside: tuple[str, ...] = ()
    hub: bool = True


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one wanted thing: a file, a repository or a closure, by its name.

    `sentence` is the mirror's own, or says what failed; `rule` and `decision` where policy decided.
    """

    name: str
    state: State
    size: int | None = None
    sentence: str = ""
    rule: str = ""
    decision: str = ""


@dataclass(frozen=True, slots=True)
class RepoPlan:
    """The wanted files of one repository at one commit. `doubtful` are those that are asked for without being listed.

    `pin` keeps all of them together ("": each has its own).
    """

    project: Project
    commit: str
    files: tuple[WantedFile, ...]
    doubtful: tuple[WantedFile, ...] = ()
    pin: str = ""
    problems: tuple[Outcome, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """What the pins of this plan name."""
        return (self.pin,) if self.pin else tuple(file.pin for file in (*self.files, *self.doubtful))


class Unplanned(ValueError):
    """An answer of the mirror from which nothing can be planned; says why."""


def repository_plan(want: RepoWant, kind: Kind, info: Any) -> RepoPlan:
    """What `want` means for the page `info` (`blobs=true`, with `PREFERENCE`). Raises `Unplanned`."""
    commit, rows = (info.get("sha"), info.get("siblings")) if isinstance(info, dict) else (None, None)
    if not isinstance(info, dict) or not isinstance(commit, str) or not is_commit(commit) or not isinstance(rows, list):
        raise Unplanned(f"{want.id}: the hub's page tells of no commit with files")
    name = info.get("id")
    project = Project("huggingface", kind, name if isinstance(name, str) else want.id)
    listed = {row["rfilename"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("rfilename"), str)}
    files = [_file(project, commit, path, row.get("size")) for path, row in listed.items() if _wanted(want, path)]
    denied = info.get(LEFT_OUT) if want.denied == "tell" else ()
    asked = [path for path in _unlisted(want, denied) if path not in listed]
    doubtful = [_file(project, commit, path, None) for path in asked]
    problems: tuple[Outcome, ...] = ()
    if not files and not doubtful:
        said = "no file of this commit matches the patterns" if listed else "this commit has no files"
        problems = (Outcome(str(Artifact(project, commit, "")), State.MISSING, sentence=said),)
    if want.whole:
        return RepoPlan(project, commit, tuple(files), tuple(doubtful), _pattern(Artifact(project, commit, "")), problems)
    each, others = (tuple(replace(file, pin=_pattern(file.artifact)) for file in some) for some in (files, doubtful))
    return RepoPlan(project, commit, each, others, "", problems)


def ancestors_of(want: RepoWant, info: Any) -> tuple[tuple[RepoWant, str], ...]:
    """What the page `info` says that a wanted model was made from, each once, and how that is known.

    An ancestor is wanted whole, but for what is ignored of the model itself: which of its files `allow` would mean is unsaid.
    """
    found: dict[str, tuple[RepoWant, str]] = {}
    for row in info.get("ancestors", ()) if isinstance(info, dict) else ():
        if isinstance(row, dict) and isinstance(row.get("id"), str):
            told = f"{row.get('relation')}, {row.get('evidence')}"
            found.setdefault(row["id"].casefold(), (replace(want, id=row["id"], revision="main", allow=None, ancestors=False), told))
    found.pop(want.id.casefold(), None)
    return tuple(found.values())


def _wanted(want: RepoWant, path: str) -> bool:
    return selected(path, want.allow, want.ignore)


def _unlisted(want: RepoWant, left_out: Any) -> list[str]:
    """Paths that are wanted and not listed: what policy left out, and what is asked for by its very name."""
    paths = [path for path in (left_out if isinstance(left_out, list) else ()) if isinstance(path, str)]
    paths += [path for path in map(exact, want.allow or ()) if path is not None]
    plain = (path for path in dict.fromkeys(paths) if all(part not in ("", ".", "..") for part in path.split("/")))
    return [path for path in plain if _wanted(want, path)]


def repository_file(artifact: Artifact) -> WantedFile:
    """One file of a commit, with a pin of its own."""
    return replace(_file(artifact.project, artifact.revision, artifact.path, None), pin=_pattern(artifact))


def _file(project: Project, commit: str, path: str, size: Any) -> WantedFile:
    target = Repo.of(project).file("resolve", commit, path)
    known = size if isinstance(size, int) and size >= 0 else None
    return WantedFile(Artifact(project, commit, path), target, known)


def _pattern(artifact: Artifact) -> str:
    """A pin's pattern: the package URL, in which a star is meant."""
    return str(artifact).replace("*", "%2A")


def locked_files(lock: Mapping[str, Any], origins: Sequence[str]) -> tuple[WantedFile, ...]:
    """Every file of a pylock.toml (PEP 751) that was resolved against the mirror at `origins`. Raises `Unplanned`.

    A file at any other address is none of ours to fetch: the resolver was led past the mirror.
    """
    found = []
    for package in lock.get("packages", ()):
        if extra := {"vcs", "directory", "archive"} & set(package):
            raise Unplanned(f"{package.get('name')} comes from {min(extra)}, not from the mirror's index")
        rows = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else ())]
        found += [_locked(package, row, origins) for row in rows]
    return tuple(found)


def hashed(files: Sequence[WantedFile], hashes: Mapping[str, Collection[str]]) -> tuple[tuple[WantedFile, ...], tuple[Outcome, ...]]:
    """Of these files those that a requirements file's hashes (by project) permit; and the releases of which none is left.

    As pip chooses: what has another digest is no candidate.
    """
    kept = [file for file in files if file.sha256 in hashes.get(file.artifact.project.name, (file.sha256,))]
    releases, left = (dict.fromkeys(replace(file.artifact, path="") for file in some) for some in (files, kept))
    said = "none of its files at the mirror has a SHA-256 that the requirements name"
    return tuple(kept), tuple(Outcome(str(one), State.FAILED, sentence=said) for one in releases if one not in left)


def _locked(package: Mapping[str, Any], row: Mapping[str, Any], origins: Sequence[str]) -> WantedFile:
    url, hashes, size = row.get("url", ""), row.get("hashes", {}), row.get("size")
    parts = urlsplit(url)
    if f"{parts.scheme}://{parts.netloc}" not in origins:
        raise Unplanned(f"{package.get('name')}: {url[:200]} is not at the mirror")
    return package_file(str(package["name"]), str(package.get("version", "")), parts.path, size if isinstance(size, int) else None, hashes.get("sha256"))


def package_file(name: str, version: str, target: str, size: int | None, sha256: str | None) -> WantedFile:
    """A file of the mirror's package index, at the raw path `target` there."""
    project = Project(PYPI, Kind.PACKAGE, normalise_pypi(name))
    artifact = Artifact(project, version, unquote(target.rpartition("/")[2]))
    # PEP 658: what resolvers read of a wheel without it. Its name is the file's and a suffix, and one pin keeps both.
    beside = (f"{target}.metadata",) if artifact.path.endswith(".whl") else ()
    return WantedFile(artifact, target, size, sha256, f"{_pattern(artifact)}*", beside, hub=False)


def reason_of(name: str) -> str:
    """Why a pin is there: the wants of this name."""
    return f"sync {name}"


@dataclass(frozen=True, slots=True)
class PinChanges:
    """`put` replaces pins, `drop` are patterns of those that go."""

    put: tuple[Pin, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(slots=True)
class PinBook:
    """The pins as they are, and what one wanted list changes about them.

    A pattern has one pin; where others pinned it too their reasons stand beside ours, and stay when ours goes.
    """

    reason: str
    pins: dict[str, Pin] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, pins: Iterable[Pin]) -> PinBook:
        """The book for the wants `name`."""
        return cls(reason_of(name), {pin.pattern: pin for pin in pins})

    def keep(self, pattern: str, now: Any) -> Pin | None:
        """The pin to put so that `pattern` is ours as well; None where it is already."""
        before = self.pins.get(pattern)
        reasons = _reasons(before)
        if before is not None and self.reason in reasons:
            return None
        pin = Pin(pattern, _BETWEEN.join([*reasons, self.reason]), now if before is None else before.at)
        self.pins[pattern] = pin
        return pin

    def prune(self, wanted: Iterable[str]) -> PinChanges:
        """What to change so that of our pins only those of `wanted` patterns stay."""
        keep, put, drop = frozenset(wanted), [], []
        for pattern, pin in self.pins.items():
            reasons = _reasons(pin)
            if self.reason not in reasons or pattern in keep:
                continue
            others = [reason for reason in reasons if reason != self.reason]
            if others:
                put.append(Pin(pattern, _BETWEEN.join(others), pin.at))
            else:
                drop.append(pattern)
        return PinChanges(tuple(put), tuple(drop))


def _reasons(pin: Pin | None) -> list[str]:
    return [] if pin is None or not pin.reason else pin.reason.split(_BETWEEN)
