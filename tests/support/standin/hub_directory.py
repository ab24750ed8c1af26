"""What a stand-in hub tells beside repositories: collections, papers, people and organisations."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from . import access
from .hub_api import paged
from .wire import Call, Reply, json_reply, text_reply

if TYPE_CHECKING:
    from .hub import StandInHub

COLLECTION: Final = "acme/best-0"
"""The slug of the one collection that is there; its second page of the list is `acme/best-1`."""
PAPER: Final = "2403.00001"
_WHEN: Final = "2024-03-01T09:00:00.000Z"
_LINKED: Final = (("models", "globex/solid-7b"), ("datasets", "acme/reviews"), ("spaces", "acme/demo"))
_MEMBERS: Final = (("model", "acme/tiny-bert"), ("dataset", "acme/reviews"), ("space", "acme/demo"), ("paper", PAPER))


def directory(hub: StandInHub, call: Call) -> Reply | None:
    """`/api/collections…`, `/api/papers…`, `/api/daily_papers`, `/api/users/U/overview`, `/api/organizations/O/overview`."""
    path = call.path.removeprefix("/api/")
    if path == "collections":
        rows = [_collection(hub, slug, brief=True) for slug in (COLLECTION, "acme/best-1") if _by(call, slug)]
        page, link = paged(hub, call, rows, min(int(call.param("limit") or hub.list_page), hub.list_page))
        return json_reply(page).with_headers(link)
    if path == f"collections/{COLLECTION}":
        return json_reply(_collection(hub, COLLECTION, brief=False))
    if path in {"daily_papers", "papers/search"}:
        return json_reply([_submitted()] if call.param("q", "tiny").lower() in _paper()["title"].lower() else [])
    if path == f"papers/{PAPER}":
        linked = {f"linked{kind.capitalize()}": [_member(hub, 0, kind[:-1], name)] for kind, name in _LINKED}
        for rows in linked.values():
            rows[0].pop("position")
        return json_reply(_paper() | linked)
    if path.startswith(("users/", "organizations/")) and path.endswith("/overview"):
        return _overview(hub, call, path.split("/")[1])
    return None


def paper_text(call: Call) -> Reply:
    """`/papers/ID.md`: a paper for reading, with markup that a browser must not run."""
    if call.path != f"/papers/{PAPER}.md":
        return access.refusal(call, 404, "Sorry, we can't find the page you are looking for.")
    text = f"# {_paper()['title']}\n\nModels: [globex/solid-7b](https://huggingface.co/globex/solid-7b)\n\n<script>alert(1)</script>\n"
    return text_reply(text, Content_Type="text/markdown; charset=utf-8")


def _by(call: Call, slug: str) -> bool:
    return call.param("owner", "acme") == slug.partition("/")[0]


def _number(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _collection(hub: StandInHub, slug: str, *, brief: bool) -> dict[str, Any]:
    rows = [_member(hub, place, kind, name) for place, (kind, name) in enumerate(_MEMBERS)]
    about = {"slug": slug, "title": "The best of Acme", "description": "Invented.", "lastUpdated": _WHEN, "gating": False}
    about |= {"owner": {"_id": _number("acme"), "name": "acme", "type": "org"}, "theme": "green", "private": False, "upvotes": 3}
    about |= {"shareUrl": f"https://hf.co/collections/{slug}", "isUpvotedByUser": False}
    return about | ({"items": rows[:4]} if brief else {"items": rows, "position": 0})


def _member(hub: StandInHub, place: int, kind: str, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"_id": _number(f"{kind}{name}"), "position": place, "type": kind, "id": name}
    row |= {"note": {"html": "a note", "text": "a note"}} if place == 0 else {}
    if kind != "paper" and (repo := hub.world.find(f"{kind}s", name)) is not None:
        row |= {"author": repo.author, "downloads": repo.downloads, "gated": repo.gated, "private": repo.private, "repoType": kind}
        row |= {"xetEnabled": hub.xet}
    return row


def _paper() -> dict[str, Any]:
    authors = [{"_id": _number("author"), "name": "A. N. Other", "hidden": False}]
    return {"id": PAPER, "authors": authors, "publishedAt": _WHEN, "title": "Tiny models, invented", "summary": "Nothing.", "upvotes": 5}


def _submitted() -> dict[str, Any]:
    paper = _paper()
    return {"paper": paper, "publishedAt": _WHEN, "title": paper["title"], "numComments": 1}


def _overview(hub: StandInHub, call: Call, name: str) -> Reply:
    owned = [repo for repo in hub.world.repos.values() if repo.author == name and not repo.private]
    if not owned:
        return access.refusal(call, 404, "This user does not exist")
    numbers = {"numModels": sum(repo.kind == "models" for repo in owned), "numFollowers": 1}
    return json_reply({"_id": _number(name), "name": name, "fullname": name.title(), "type": "org", **numbers})
