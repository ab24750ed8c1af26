"""How we say no: problem details (RFC 9457), `blocked-by` (RFC 7725) and one sentence that clients print.

uv prints a problem's title and detail only where the type is exactly `application/problem+json`, without a charset;
pip and Poetry print the reason phrase of HTTP/1.1; huggingface_hub prints `X-Error-Message` only beside an error code
that it knows. Each dialect adds its own headers to what stands here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from mirror.core.canonical import instant
from mirror.core.decision import Effect
from mirror.policy.substitutes import split

if TYPE_CHECKING:
    from mirror.core.decision import Decision
    from mirror.reply.routing import Call

PROBLEM: Final = "application/problem+json"
#: Reason phrases longer than this are cut by front proxies and hidden by terminals.
MAX_REASON: Final = 199

#: Seconds that a client is told to wait where nothing better is known, and at most. Clients sleep for what they are told,
#: five times over and without a word; how long the hub's quota lasts is the mirror's affair, not theirs.
COME_BACK: Final = 5
LONGEST_WAIT: Final = 30

_TITLES: Final = {
    Effect.DENY: "Blocked by policy",
    Effect.QUARANTINE: "Held in quarantine by policy",
    Effect.REVIEW: "Held for review by policy",
}


def one_line(text: str) -> str:
    """`text` as it may stand in a header or a reason phrase: one line of printable ASCII."""
    flat = " ".join(text.split())
    return "".join(character if " " <= character <= "~" else "?" for character in flat)


def come_back(seconds: float | None = None) -> tuple[str, str]:
    """`Retry-After` as all clients read it: whole seconds in digits, from 1 to `LONGEST_WAIT` (RFC 9110 section 10.2.3)."""
    wait = COME_BACK if seconds is None else math.ceil(seconds)
    return "Retry-After", str(min(max(1, wait), LONGEST_WAIT))


def decision_url(call: Call, decision_id: str) -> str:
    """The page that explains one decision."""
    return f"{call.public_url}/-/blocked/{decision_id}"


def reason_phrase(decision: Decision, url: str) -> str:
    """Rule, project, cause and URL in one short line; the cause gives way first, the URL never."""
    determining = decision.verdict.determining
    rule = determining.id if determining else "default"
    head = one_line(f"{_TITLES.get(decision.effect, 'Blocked')}: rule '{rule}', {decision.artifact.project.name}")
    tail = " - see " + one_line(url)
    cause = one_line(determining.cause) if determining else ""
    if decision.verdict.available_from is not None:  # pip prints nothing but this line
        cause = f"is available from {decision.verdict.available_from:%Y-%m-%d}; {cause}"
    room = MAX_REASON - len(head) - len(tail) - 1
    if cause and room >= 12:
        cause = cause if len(cause) <= room else cause[: room - 3].rstrip() + "..."
        return f"{head} {cause}{tail}"
    return head[: MAX_REASON - len(tail)] + tail


def problem(
    status: int,
    title: str,
    detail: str,
    *,
    headers: Iterable[tuple[str, str]] = (),
    reason: str | None = None,
    members: Mapping[str, Any] | None = None,
    url: str = "about:blank",
) -> web.Response:
    """A problem response. `members` are RFC 9457 extension members; `error` repeats the detail for Hugging Face clients."""
    body: dict[str, Any] = {"type": url, "title": title, "status": status, "detail": detail, "error": detail}
    body.update(members or {})
    response = web.Response(
        status=status,
        reason=one_line(reason)[:MAX_REASON] if reason else None,
        # An upstream's header may hold bytes that are no UTF-8; they come here as halves of surrogate pairs.
        body=json.dumps(body, ensure_ascii=False).encode("utf-8", "replace"),
        headers={"Content-Type": PROBLEM, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )
    for name, value in headers:
        response.headers[name] = one_line(value)
    return response


def _waiver(decision: Decision) -> str:
    """How to ask for an exception, in one sentence."""
    determining = decision.verdict.determining
    if determining is not None and determining.waiver == "none":
        return "This rule admits no waiver."
    whom = f"ask at {decision.contact}" if decision.contact else "ask whoever runs this mirror"
    return f"For an exception {whom}, naming decision {decision.id}."


def _alternatives(decision: Decision) -> list[dict[str, str]]:
    """What to take instead, with why each was chosen."""
    found = decision.facts.alternatives
    told = found.value or () if found is not None else [f"{one}: named by the rule" for one in decision.verdict.suggestions]
    return [{"artifact": name, "why": why} for name, why in map(split, told)]


def refuse(call: Call, decision: Decision, dialect_headers: Iterable[tuple[str, str]] = ()) -> web.Response:
    """The refusal of DESIGN 6 without what only one ecosystem needs, which comes in `dialect_headers`."""
    url = decision_url(call, decision.id)
    determining = decision.verdict.determining
    return problem(
        decision.status,
        _TITLES.get(decision.effect, "Blocked by policy"),
        decision.sentence,
        reason=reason_phrase(decision, url),
        url=url,
        headers=(
            ("Link", f'<{url}>; rel="blocked-by"'),
            ("X-Mirror-Decision", decision.id),
            ("Vary", "Authorization"),
            *dialect_headers,
        ),
        members={
            "instance": f"/-/blocked/{decision.id}",
            "decision": decision.id,
            "effect": decision.effect.word,
            "rule": determining.id if determining else "default",
            "reason": determining.cause if determining else "the default action is to deny",
            "basis": determining.basis if determining else "",
            "suggestions": list(decision.verdict.suggestions),
            "alternatives": _alternatives(decision),
            "use": "forbidden" if decision.verdict.forbidden else None,
            "contact": decision.contact,
            "waiver": _waiver(decision),
            "available_from": (
                instant(decision.verdict.available_from) if decision.verdict.available_from else None
            ),
        },
    )
