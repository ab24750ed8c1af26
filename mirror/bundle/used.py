"""What was used: revisions with the files that clients were given, wanted again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from mirror.bundle.plan import WantedFile, repository_file
from mirror.bundle.wants import RepoWant
from mirror.core.facts import Ancestor
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.hubs.huggingface.paths import is_commit

_METADATA = ".metadata"


@dataclass(frozen=True, slots=True)
class Used:
    """A revision of a project of which clients were given `paths`; None means every file of it that policy permits."""

    project: Project
    revision: str
    paths: tuple[str, ...] | None = None


def gathered(artifacts: Iterable[Artifact]) -> tuple[Used, ...]:
    """Artifacts by revision, in the order in which each first comes. Left out is what is no file that can be asked for again.

    That is pages (no path), a wheel's metadata, which comes with the wheel, and what has no commit.
    """
    found: dict[tuple[str, str], tuple[Project, dict[str, None]]] = {}
    for artifact in artifacts:
        hugging = artifact.project.ecosystem == HUGGINGFACE
        if not artifact.path or (is_commit(artifact.revision) if hugging else not artifact.path.endswith(_METADATA)) is False:
            continue
        key = (str(replace(artifact.project, hub="", hub_id=None)).casefold(), artifact.revision)
        found.setdefault(key, (artifact.project, {}))[1][artifact.path] = None
    return tuple(Used(project, revision, tuple(paths)) for (_, revision), (project, paths) in found.items())


def preserved(rows: Iterable[Used]) -> tuple[tuple[tuple[Kind, RepoWant], ...], tuple[Used, ...]]:
    """The same revisions whole: (repositories, releases of packages). What policy denies of them is left out."""
    kept = tuple(rows)
    repositories = [row for row in kept if row.project.ecosystem == HUGGINGFACE]
    wants = tuple((row.project.kind, RepoWant(row.project.name, row.revision, denied="skip")) for row in repositories)
    return wants, tuple(replace(row, paths=None) for row in kept if row.project.ecosystem != HUGGINGFACE)


def used_files(used: Used) -> tuple[WantedFile, ...]:
    """The files of a revision on Hugging Face, each with a pin of its own."""
    return tuple(repository_file(Artifact(used.project, used.revision, path)) for path in used.paths or ())


def walk_of(project: Project, info: Any) -> tuple[Ancestor, ...]:
    """What the page `info` (asked `WITH_ANCESTORS`) says that `project` was made from, nearest first; publishers are not filled in."""
    found: list[Ancestor] = []
    depths = {project.name.casefold(): 0}
    for row in info.get("ancestors", ()) if isinstance(info, dict) else ():
        parent, child = (Project(HUGGINGFACE, Kind.MODEL, str(row[end]), project.hub) for end in ("id", "of"))
        depth = depths.get(child.name.casefold(), 0) + 1
        depths.setdefault(parent.name.casefold(), depth)
        how = (str(row["relation"]), str(row["evidence"]), int(row["confidence"]), depth)
        found.append(Ancestor(parent, child, *how, missing=str(row.get("missing") or "")))
    return tuple(found)
