"""The hub's verdicts: who may see a repository, who may read its files, and the exact words of each refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .wire import Call, Reply, json_reply, text_reply
from .world import KINDS, Repo, World

if TYPE_CHECKING:
    from collections.abc import Mapping

BAD_TOKEN: Final = "Invalid credentials in Authorization header"
ANONYMOUS: Final = "Invalid username or password."
DISABLED: Final = "Access to this resource is disabled."
_TEXT_ROUTES: Final = frozenset({"resolve", "raw", "resolve-cache"})


def refusal(
    call: Call, status: int, message: str, code: str | None = None, extra: Mapping[str, str] | None = None
) -> Reply:
    """An error as the hub sends it: `X-Error-Message` always, `X-Error-Code` where it has one, text or a JSON object."""
    as_text = any(part in _TEXT_ROUTES for part in call.segments)
    reply = text_reply(message, status) if as_text else json_reply({"error": message}, status)
    reply.headers["X-Error-Message"] = message
    if code:
        reply.headers["X-Error-Code"] = code
    if status == 401:
        reply.headers["WWW-Authenticate"] = 'Bearer realm="Authentication required", charset="UTF-8"'
    return reply.with_headers(extra or {})


def not_found(call: Call, commit: str) -> Reply:
    """A file that the commit does not have: 404 `EntryNotFound`, 15 bytes, the commit in the header."""
    return refusal(call, 404, "Entry not found", "EntryNotFound", {"X-Repo-Commit": commit})


def bad_revision(call: Call, revision: str) -> Reply:
    """A revision nobody knows: 404 `RevisionNotFound`."""
    return refusal(call, 404, f"Invalid rev id: {revision}", "RevisionNotFound")


def bad_token(call: Call, world: World) -> Reply | None:
    """The 401 for a token the hub does not know, which it gives on public repositories too."""
    if call.token is not None and call.token not in world.tokens:
        return refusal(call, 401, BAD_TOKEN)
    return None


def allowed(call: Call, repo: Repo) -> bool:
    """Whether this call's token is on the repository's list."""
    return call.token in repo.tokens_allowed


def visible(call: Call, world: World, repo: Repo | None) -> Reply | None:
    """The refusal of everything about a repository, or None if its information may be seen."""
    if refused := bad_token(call, world):
        return refused
    if repo is None or (repo.private and not allowed(call, repo)):
        if call.token is None:
            return refusal(call, 401, ANONYMOUS)
        return refusal(call, 404, "Repository not found", "RepoNotFound")
    if repo.disabled is True:
        return refusal(call, 401, ANONYMOUS) if call.token is None else refusal(call, 403, DISABLED)
    return None


def readable(call: Call, repo: Repo, region: str) -> Reply | None:
    """The refusal of contents only: gates, regions and repositories that are disabled but still described."""
    kind = KINDS[repo.kind]
    if repo.disabled:
        return refusal(call, 401, ANONYMOUS) if call.token is None else refusal(call, 403, DISABLED)
    if repo.gated and not allowed(call, repo):
        start = f"Access to {kind} {repo.name} is restricted"
        if call.token is None:
            text = f"{start}. You must have access to it and be authenticated to access it. Please log in."
            return refusal(call, 401, text, "GatedRepo")
        text = f"{start} and you are not in the authorized list. Visit {repo.prefix}{repo.name} to ask for access."
        return refusal(call, 403, text, "GatedRepo")
    if region in repo.region_block or "*" in repo.region_block:
        return refusal(call, 403, f"This {kind} is not available in your region.")
    return None
