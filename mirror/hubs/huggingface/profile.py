"""What a repository is for and how large it is, from its judging page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mirror.core.nouns import FileKind, Kind
from mirror.hubs.huggingface.facts import file_facts, file_kind
from mirror.policy.substitutes import Profile

if TYPE_CHECKING:
    from mirror.core.facts import Facts
    from mirror.hubs.huggingface.documents import RepoPage

_CATEGORY: Final = "task_categories:"


def profile_of(page: RepoPage, shared: Facts) -> Profile:
    """Task (`pipeline_tag`, of a dataset its first `task_categories`), size of weights or data, and what is judged of it."""
    stated = page.data.get("pipeline_tag")
    task = stated if isinstance(stated, str) else ""
    if page.project.kind is Kind.DATASET:
        task = next((tag.removeprefix(_CATEGORY) for tag in page.tags if tag.startswith(_CATEGORY)), "")
    wanted = FileKind.DATA if page.project.kind is Kind.DATASET else FileKind.WEIGHTS
    sizes = {path: file.size or 0 for path, file in page.files.items() if file_kind(path, page.project.kind) is wanted}
    paths = ["", *([max(sizes, key=lambda path: (sizes[path], path))] if sizes else [])]
    return Profile(task, sum(sizes.values()), tuple((page.artifact(path), file_facts(shared, page, path)) for path in paths))
