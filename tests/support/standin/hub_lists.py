"""Hub routes that belong to no single repository: listings, who am I, registries, telemetry."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from . import access
from .hub_api import information, paged
from .hub_directory import directory
from .wire import Call, Reply, compress, json_reply, text_reply

if TYPE_CHECKING:
    from .hub import StandInHub
    from .world import Repo

_BRIEF: Final = (
    *("_id", "id", "modelId", "author", "likes", "private", "downloads", "tags", "pipeline_tag", "library_name"),
    *("createdAt", "lastModified", "sha", "gated", "disabled", "sdk"),
)


def listing(hub: StandInHub, call: Call, kind: str) -> Reply:
    """`GET /api/T?filter=&author=&search=&sort=&limit=&cursor=...`, next page by an absolute `Link`."""
    refused = access.bad_token(call, hub.world)
    if refused is not None:
        return refused
    rows = [repo for (of, _), repo in sorted(hub.world.repos.items()) if of == kind and _listed(call, repo)]
    if call.param("sort") in {"downloads", "likes"}:
        rows.sort(key=lambda repo: -int(getattr(repo, call.param("sort"))))
    page, link = paged(hub, call, rows, min(int(call.param("limit") or hub.list_page), hub.list_page))
    return compress(call, json_reply([_row(hub, call, repo) for repo in page]).with_headers(link))


def _listed(call: Call, repo: Repo) -> bool:
    if (repo.private and not access.allowed(call, repo)) or repo.disabled is True:
        return False
    author, search = call.param("author").lower(), call.param("search").lower()
    wanted = [tag for value in call.params("filter", "filter[]", "tags") for tag in value.split(",") if tag]
    wanted += call.params("pipeline_tag") + call.params("library")
    gated = call.param("gated").lower()
    has = {*repo.tags, repo.extra.get("pipeline_tag"), repo.extra.get("library_name")}
    return (
        (not author or (repo.author or "").lower() == author)
        and (not search or search in repo.name.lower())
        and all(tag in has for tag in wanted)
        and (not gated or (gated in {"true", "1"}) == bool(repo.gated))
    )


def _row(hub: StandInHub, call: Call, repo: Repo) -> dict[str, Any]:
    whole = information(hub, call, repo, repo.commits[repo.head])
    if call.params("expand", "expand[]"):
        return whole
    keys = [*_BRIEF]
    keys += ["siblings", "cardData"] if call.truthy("full") else []
    keys += ["cardData"] if call.truthy("cardData") else []
    keys += ["config"] if call.truthy("config") else []
    return {key: whole[key] for key in dict.fromkeys(keys) if key in whole}


def other(hub: StandInHub, call: Call) -> Reply:
    """Everything else under /api."""
    path = call.path.removeprefix("/api/")
    if path == "whoami-v2":
        return whoami(hub, call)
    if path == "agent-harnesses":
        return json_reply({"standardEnvVars": ["AI_AGENT"], "harnesses": {}})
    if path.startswith("telemetry/"):
        return text_reply("")
    if path in {"models-tags-by-type", "datasets-tags-by-type"}:
        return json_reply({"license": [{"id": "license:mit", "label": "mit", "type": "license"}]})
    if path == "tasks":
        return json_reply({})
    return directory(hub, call) or access.refusal(call, 404, "Sorry, we can't find the page you are looking for.")


def whoami(hub: StandInHub, call: Call) -> Reply:
    """`GET /api/whoami-v2`: the token's owner, or 401."""
    user = hub.world.tokens.get(call.token or "")
    if user is None:
        return access.bad_token(call, hub.world) or access.refusal(call, 401, access.ANONYMOUS)
    return json_reply(
        {
            "type": "user",
            "id": hashlib.sha256(user.encode()).hexdigest()[:24],
            "name": user,
            "fullname": user.title(),
            "email": f"{user}@acme.example",
            "emailVerified": True,
            "canPay": False,
            "isPro": False,
            "orgs": [],
            "auth": {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": "read"}},
        }
    )
