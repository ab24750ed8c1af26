"""What was used: revisions with the files that clients were given, wanted again. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mirror.bundle.plan import WantedFile, repository_file
from mirror.bundle.wants import RepoWant
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
