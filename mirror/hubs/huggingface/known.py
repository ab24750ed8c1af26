"""Lists of files answered from what is known, where the hub cannot be asked at all (`network: offline`).

Clients ask for the same list in many ways: one folder or all, deep or flat, a few paths by POST. A mirror that has no way
out has whatever form somebody asked for - or a bundle brought, which is the whole tree of the commit. All other forms
follow from that one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from mirror.core.errors import MirrorError, NotHere
from mirror.hubs.huggingface.documents import LISTED, PINNED, load_json
from mirror.hubs.huggingface.rewrite import following

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mirror.core.actor import Credential
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.pages import Pages

#: How a whole tree is asked for, plain and with the last commit of each file.
WHOLE: Final = "recursive=true&expand=false"
EXPANDED: Final = "recursive=true&expand=true"
_MOST_PAGES: Final = 10_000


async def whole_tree(pages: Pages, page: RepoPage, credential: Credential | None, *, expand: bool) -> list[Any]:
    """Every row of the commit's tree, from pages that are known. Raises `NotHere(offline=True)` where there are none.

    Where only the plain tree is known it stands for the expanded one: clients take the last commit as optional.
    """
    for query in (EXPANDED, WHOLE) if expand else (WHOLE, EXPANDED):
        try:
            return await _followed(pages, page, query, credential)
        except NotHere:
            continue
    raise NotHere(f"the list of the files of {page.project.name}", offline=True)


async def _followed(pages: Pages, page: RepoPage, query: str, credential: Credential | None) -> list[Any]:
    rows: list[Any] = []
    age, tail = PINNED if query == EXPANDED else LISTED, f"/tree/{page.commit}"
    for _ in range(_MOST_PAGES):
        document = await pages.about(page, tail, query, credential, age)
        found = load_json(document, document.key.hub)
        rows += found if isinstance(found, list) else []
        further = following(document.header("link"))
        if further is None:
            return rows
        query = further
    return rows


def of_folder(rows: Iterable[Any], folder: str, *, recursive: bool) -> list[Any]:
    """The rows below a folder ("" is the root): all of them, or its own alone. Raises `NotHere` for what is no folder."""
    prefix = f"{folder}/" if folder else ""
    below = [row for row in rows if _path(row).startswith(prefix)]
    if folder and not below:
        raise NotHere(folder)
    return below if recursive else [row for row in below if "/" not in _path(row)[len(prefix) :]]


def of_paths(rows: Iterable[Any], paths: Iterable[str]) -> list[Any]:
    """The rows of these paths, files and folders; what there is not is left out, as the hub does."""
    wanted = {path.strip("/") for path in paths}
    return [row for row in rows if _path(row) in wanted]


def asked_deep(query: str) -> tuple[bool, bool]:
    """`recursive` and `expand` of a tree's query."""
    found = parse_qs(query, keep_blank_values=True)
    said = [found.get(name, ["false"])[-1].lower() in ("true", "1") for name in ("recursive", "expand")]
    return said[0], said[1]


def offline(error: MirrorError) -> bool:
    """Whether a page is lacking only because nobody can be asked."""
    return isinstance(error, NotHere) and error.offline


def _path(row: Any) -> str:
    value = row.get("path") if isinstance(row, dict) else None
    return value if isinstance(value, str) else "\0"
