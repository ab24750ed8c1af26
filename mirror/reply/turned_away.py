"""The answer for what is permitted and not here because our policy refused it when its bundle was imported: that refusal, not an absence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mirror.core.decision import EventKind
from mirror.core.errors import MirrorError, NotHere
from mirror.reply.refusal import decision_url, problem

if TYPE_CHECKING:
    from aiohttp import web

    from mirror.proxy.gateway import Gateway
    from mirror.proxy.turned_away import Away
    from mirror.reply.routing import Call


async def refused_at_import(call: Call, gateway: Gateway, error: MirrorError) -> Away | None:
    """The import at which our policy refused a file that it permits now and that is not here; None where none did. It is put on the record."""
    if gateway.turned_away is None or not (isinstance(error, NotHere) and error.offline):
        return None
    away = await gateway.turned_away.of(error.what)
    if away is not None:
        detail = {"decision": away.decision, "rule": away.rule, "bundle": away.bundle, "cause": "refused at import"}
        await gateway.note(EventKind.ROUTE_REFUSED, call.actor, call.info, away.artifact, detail)
    return away


def sentence(away: Away, gateway: Gateway) -> str:
    """What people are told: who refused it when and why, and what to do where the rules have changed since."""
    rule = gateway.epoch.policy.rule(away.rule)
    gone = f"The rule '{away.rule}' is not in force any more" if rule is None and away.rule != "default" else "The rules have changed since"
    first = f"{away.artifact} is not here: rule '{away.rule}' of this mirror refused it when bundle {away.bundle} of {away.sender} was imported on {away.day} (decision {away.decision})."
    return f"{first} {away.sentence} {gone}: it must be sent and imported again."


def answer(call: Call, away: Away, gateway: Gateway, headers: Iterable[tuple[str, str]] = ()) -> web.Response:
    """A refusal as `reply.refusal.refuse` has it, by the decision that was made at the import."""
    url, said = decision_url(call, away.decision), sentence(away, gateway)
    return problem(
        403, "Blocked by policy", said, url=url,
        reason=f"Blocked by policy at import: rule '{away.rule}' - see {url}",
        headers=(("Link", f'<{url}>; rel="blocked-by"'), ("X-Mirror-Decision", away.decision), ("Vary", "Authorization"), *headers),
        members={
            "instance": f"/-/blocked/{away.decision}", "decision": away.decision, "effect": "deny", "rule": away.rule,
            "reason": away.sentence, "bundle": away.bundle, "suggestions": [], "alternatives": [],
        },
    )  # fmt: skip
