"""Pages answered from what is known, where the hub cannot be asked at all (`network: offline`).

Clients ask for the same thing in many ways: one folder or all, deep or flat, a few paths by POST, this page of a history or
that one, some properties of a repository. A mirror that has no way out has whatever form somebody asked for - or a bundle
brought, which is the most telling form of each. All others follow from that one.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode

from mirror.core.errors import HubSaysNo, Malformed, MirrorError, NotHere
from mirror.core.nouns import Digest, Document, DocumentKey, Kind
from mirror.hubs.huggingface.documents import LISTED, MOVING, PINNED, load_json
from mirror.hubs.huggingface.paths import Repo, is_name
from mirror.hubs.huggingface.rewrite import following

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mirror.core.actor import Credential
    from mirror.hubs.huggingface.documents import RepoPage
    from mirror.hubs.huggingface.pages import Pages

#: How a whole tree is asked for, plain and with the last commit of each file.
WHOLE: Final = "recursive=true&expand=false"
EXPANDED: Final = "recursive=true&expand=true"
#: References with pull requests, and what the scanners say of a repository.
EVERY_REF: Final = "include_prs=1"
SECURITY: Final = "securityStatus=true"
_COMMON: Final = "author cardData createdAt disabled lastModified likes private resourceGroup sha siblings tags trendingScore usedStorage"
_MORE: Final = {
    Kind.MODEL: (
        "baseModels childrenModelCount config downloads downloadsAllTime evalResults gated gguf inference inferenceProviderMapping library_name"
        " mask_token model-index pipeline_tag safetensors spaces transformersInfo widgetData"
    ),
    Kind.DATASET: "citation description downloads downloadsAllTime gated mainSize paperswithcode_id",
    Kind.SPACE: "datasets models runtime sdk subdomain",
}
#: All that can be asked for by `expand` of a repository, by its kind (huggingface_hub 1.31, `ExpandModelProperty_T` and its like).
PROPERTIES: Final = {kind: "&".join(f"expand={name}" for name in f"{_COMMON} {more}".split()) for kind, more in _MORE.items()}
#: Rows of one page of a tree, plain and expanded, and of a history (huggingface.md section 4).
_TREE_PAGE: Final = 1000
_EXPANDED_PAGE: Final = 50
HISTORY_PAGE: Final = 50
_MOST_PAGES: Final = 10_000
_TRUE: Final = frozenset({"true", "1"})


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


def of_folder(rows: Iterable[Any], folder: str, *, recursive: bool, revision: str) -> list[Any]:
    """The rows below a folder ("" is the root): all of them, or its own alone. Raises the hub's no for what is no folder of `revision`."""
    prefix = f"{folder}/" if folder else ""
    below = [row for row in rows if _path(row).startswith(prefix)]
    if folder and not below:
        raise HubSaysNo(404, "EntryNotFound", f'{folder} does not exist on "{revision}"', "missing_entry")
    return below if recursive else [row for row in below if "/" not in _path(row)[len(prefix) :]]


def of_paths(rows: Iterable[Any], paths: Iterable[str]) -> list[Any]:
    """The rows of these paths, files and folders, in the order asked for; what there is not is left out, as the hub does."""
    named = {_path(row): row for row in rows}
    return [named[path] for path in (path.strip("/") for path in paths) if path in named]


def one_page(rows: Sequence[Any], query: str, *, expand: bool) -> tuple[Sequence[Any], str | None]:
    """That part of a list that a tree's query asks for, and the query of the next. Raises `Malformed` for a cursor of another list."""
    pairs = parse_qsl(query, keep_blank_values=True)
    asked, most = dict(pairs), _EXPANDED_PAGE if expand else _TREE_PAGE
    start, limit = _number(asked.get("cursor"), 0, "cursor"), min(_number(asked.get("limit"), most, "limit") or most, most)
    stop = start + limit
    if stop >= len(rows):
        return rows[start:], None
    kept = [pair for pair in pairs if pair[0] not in ("cursor", "limit")]
    return rows[start:stop], urlencode([*kept, ("limit", limit), ("cursor", stop)])


def asked_deep(query: str) -> tuple[bool, bool]:
    """`recursive` and `expand` of a tree's query."""
    return truthy(query, "recursive"), truthy(query, "expand")


def truthy(query: str, name: str) -> bool:
    """Whether a query says yes to `name`."""
    return parse_qs(query, keep_blank_values=True).get(name, ["false"])[-1].lower() in _TRUE


# --- a repository, its references and its history -------------------------------------------------------------------


async def information(pages: Pages, page: RepoPage, query: str, credential: Credential | None) -> dict[str, Any]:
    """The repository as a query wants it: properties by `expand` (`_id`, `id` and those only), or all with sizes and scans as asked."""
    asked = parse_qs(query, keep_blank_values=True)
    names = [name for key in ("expand", "expand[]") for name in asked.get(key, [])]
    data = dict(page.data)
    rows = data.get("siblings")
    if isinstance(rows, list) and not truthy(query, "blobs"):
        data["siblings"] = [{"rfilename": row.get("rfilename")} for row in rows if isinstance(row, dict)]
    if names:
        told = await _told(pages, page, PROPERTIES.get(page.project.kind, ""), credential)
        data |= {name: told[name] for name in told if name != "siblings"}
        return {name: data[name] for name in dict.fromkeys(("_id", "id", *names)) if name in data}
    if truthy(query, "securityStatus"):
        told = await _told(pages, page, SECURITY, credential)
        data |= {name: told[name] for name in told if name not in data}
    return data


async def _told(pages: Pages, page: RepoPage, query: str, credential: Credential | None) -> Mapping[str, Any]:
    try:
        found = load_json(await pages.about(page, f"/revision/{page.commit}", query, credential, MOVING), page.project.hub)
    except NotHere:
        return {}
    return found if isinstance(found, dict) else {}


async def references(pages: Pages, page: RepoPage, query: str, credential: Credential | None) -> Any:
    """The references, with pull requests where they are asked for. Raises `NotHere(offline=True)`."""
    found = load_json(await pages.about(page, "/refs", EVERY_REF, credential, MOVING), page.project.hub)
    plain = isinstance(found, dict) and not truthy(query, "include_prs")
    return {name: rows for name, rows in found.items() if name != "pullRequests"} if plain else found


def history_query(number: int) -> str:
    """How one page of a history is asked for: with what is made of its texts, from which the plain form follows."""
    return f"expand%5B%5D=formatted&p={number}&limit={HISTORY_PAGE}"


async def history(pages: Pages, page: RepoPage, query: str, credential: Credential | None) -> tuple[list[Any], int, str | None]:
    """The commits up to the page's that a query asks for, how many there are, and the query of the next ones. Raises `NotHere(offline=True)`."""
    rows: list[Any] = []
    for number in range(_MOST_PAGES):
        document = await pages.about(page, f"/commits/{page.commit}", history_query(number), credential, MOVING, contents=True)
        found = load_json(document, page.project.hub)
        rows += found
        if len(found) < HISTORY_PAGE or len(rows) >= _number(document.header("x-total-count"), 0, "total"):
            break
    pairs = parse_qsl(query, keep_blank_values=True)
    asked = dict(pairs)
    limit, number = _number(asked.get("limit"), HISTORY_PAGE, "limit") or HISTORY_PAGE, _number(asked.get("p"), 0, "p")
    kept = [pair for pair in pairs if pair[0] not in ("p", "limit")]
    told = rows[number * limit : (number + 1) * limit]
    if ("expand[]", "formatted") not in kept and ("expand", "formatted") not in kept:
        told = [{name: value for name, value in row.items() if name != "formatted"} for row in told]
    further = urlencode([*kept, ("p", number + 1), ("limit", limit)]) if (number + 1) * limit < len(rows) else None
    return told, len(rows), further


# --- names ------------------------------------------------------------------------------------------------------------


def name_key(hub: str, repo: Repo, scope: str) -> DocumentKey:
    """Under which key stands who goes by a name, in whatever case: what `name_page` made."""
    return DocumentKey(hub, f"/api/{repo.plural}/{repo.name.casefold()}", scope, "called")


def name_page(key: DocumentKey, name: str, now: datetime) -> Document:
    """That the repository `name` answers to the name of the key."""
    body = json.dumps({"id": name}).encode()
    return Document(key, 200, (), body, Digest("sha256", hashlib.sha256(body).hexdigest()), now, None)


def called(document: Document, repo: Repo) -> Repo | None:
    """The repository that goes by a name, as `name_page` said it; None where it is that very name."""
    name = load_json(document, document.key.hub).get("id")
    return Repo(repo.kind, name) if isinstance(name, str) and is_name(name) and name != repo.name else None


def led_to(references: Any, revision: str) -> str | None:
    """The commit to which the hub's list of references says that a name leads: `v1.0`, `refs/tags/v1.0`, `refs/pr/1`."""
    tables = references.values() if isinstance(references, dict) else ()
    for row in (row for table in tables if isinstance(table, list) for row in table if isinstance(row, dict)):
        commit = row.get("targetCommit")
        if revision in (row.get("name"), row.get("ref")) and isinstance(commit, str):
            return commit
    return None


def offline(error: MirrorError) -> bool:
    """Whether a page is lacking only because nobody can be asked."""
    return isinstance(error, NotHere) and error.offline


def _number(text: str | None, default: int, name: str) -> int:
    if text is None or text == "":
        return default
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise Malformed(f"'{name}' is no number, or that of a list which is not here")
    return int(text)


def _path(row: Any) -> str:
    value = row.get("path") if isinstance(row, dict) else None
    return value if isinstance(value, str) else "\0"
