"""Our own pages: the landing page, health, metrics, and the page that explains one decision.

Nothing here shows who asked. Pages load nothing from anywhere, so they work in an air gap, and their policy forbids
scripts altogether.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from mirror import __version__
from mirror.audit.record import public_decision
from mirror.core.errors import LedgerDown
from mirror.core.ids import is_ulid
from mirror.core.ports import EventIndex
from mirror.proxy.gateway import Gateway
from mirror.proxy.rulebook import Rulebook
from mirror.reply.refusal import problem
from mirror.web.metrics import Metrics, merged

_SAFE: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class RecordState(Protocol):
    """What health needs to know of the ledger."""

    @property
    def state(self) -> str:
        """`ok`, `reserve` or `down`."""

    @property
    def why(self) -> str:
        """Why it is not `ok`."""

    @property
    def signed(self) -> Callable[[], Mapping[str, Any]] | None:
        """How its checkpoints stand, where this process makes them."""

    @property
    def delivered(self) -> Callable[[], Sequence[Mapping[str, Any]]] | None:
        """How its sinks stand, where this process has them."""


class WatchedIndex(EventIndex, Protocol):
    """The queryable copy of the ledger, and how its database fares."""

    @property
    def fault(self) -> str:
        """What went wrong when the database was last asked; empty when nothing did."""


class Node(Protocol):
    """All processes of a mirror that has several workers."""

    async def health(self) -> Mapping[str, Any]:
        """What replaces parts of this process's own report. Raises `LedgerDown`."""

    async def measures(self) -> Mapping[str, Any]:
        """`now`: `Metrics.parts` of every process; `retired`: the last ones of processes that have ended."""

    async def level(self) -> None:
        """Return once the index holds what every process has decided. Raises `LedgerDown`, `OSError`."""


@dataclass(slots=True)
class Status:
    """What health needs to know of the process. `started` is wall time in seconds."""

    started: float
    serving: bool = False


class Own:
    """Handlers by first segment below `/-/`, and `landing` for `/`."""

    def __init__(
        self, everything: bool, gateway: Gateway, index: WatchedIndex, ledger: RecordState, rulebook: Rulebook,
        metrics: Metrics, status: Status, public_url: str | None, names_us: Callable[[web.Request], bool] = lambda _: True,
        node: Node | None = None,
    ) -> None:  # fmt: skip
        """`names_us` tells whether a request to `listen.admin` names this mirror in its Host header.

        `node` answers for all processes of a mirror that has several.
        """
        self._names_us, self._node = names_us, node
        #: How scheduled syncs stand, where this process runs them.
        self.syncs: Callable[[], Sequence[Mapping[str, Any]]] = list
        self._public_url = public_url
        self._gateway, self._index, self._ledger = gateway, index, ledger
        self._rulebook, self._metrics, self._status = rulebook, metrics, status
        self._pages = Environment(
            loader=PackageLoader("mirror.web"), autoescape=select_autoescape(default=True), undefined=StrictUndefined
        )
        public = {"health": self.live, "blocked": self.blocked, "landing": self.landing}
        self._private = {**public, "health": self.health, "metrics": self.metrics, "api": self.api}
        self.handlers = {**self._private, "health": self.health_in_public} if everything else public
        metrics.before_reading(self._measure)

    async def admin(self, request: web.Request) -> web.StreamResponse:
        """The handler of `listen.admin`: all of ours, and nothing of any hub."""
        segments = request.path.split("/")
        name = segments[2] if len(segments) > 2 and segments[1] == "-" else "landing" if request.path == "/" else ""
        handler = self._private.get(name)
        if handler is None:
            return problem(404, "Not found", "this address serves the mirror's own pages only")
        if name != "health" and not self._names_us(request):
            said = "the Host header names neither this address nor loopback, nor the host of listen.public_url"
            return problem(421, "Misdirected request", said)
        return await handler(request, request.path, request.query_string)

    # --- health and metrics ---------------------------------------------------------------------------------------

    async def live(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/-/health/live`: 200 while the process answers at all."""
        if path != "/-/health/live":
            return problem(404, "Not found", "only /-/health/live is served on this address")
        return _json({"status": "live"})

    async def health(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/-/health/live` and `/-/health/ready`. Ready also when a hub is down; not when nothing can be recorded."""
        return await self._health(path)

    async def health_in_public(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """The same for everybody: where checkpoints and events are sent is told by kind alone, and whether they arrive."""
        return await self._health(path, reduced)

    async def _health(self, path: str, told: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda whole: whole) -> web.StreamResponse:
        if path == "/-/health/live":
            return _json({"status": "live"})
        if path != "/-/health/ready":
            return problem(404, "Not found", "there are /-/health/live and /-/health/ready")
        ready = self._status.serving and self._ledger.state != "down"
        report: dict[str, Any] = {
            "status": "ready" if ready else "not ready",
            "version": __version__,
            "network": "offline" if self._gateway.offline else "online",
            "ledger": {"state": self._ledger.state, "why": self._ledger.why},
            # A place that does not take checkpoints is for people to look at; answers do not wait for it.
            "checkpoints": self._ledger.signed() if self._ledger.signed is not None else None,
            "sinks": self._ledger.delivered() if self._ledger.delivered is not None else [],
            # Not ready would be wrong: without its database the mirror asks the hub as if nothing were known (P9).
            "index": {"state": "down" if self._index.fault else "ok", "why": self._index.fault},
            "policy": {
                "digest": self._rulebook.current.policy.digest,
                "epoch": self._rulebook.current.number,
                "problems": len(self._rulebook.problems),
            },
            # A list that is old or held back is for people to look at; what it says of those on it still holds.
            "lists": [one.record() for one in self._rulebook.lists],
            "catalogue": None if self._rulebook.pack is None else self._rulebook.pack.record(),
            "sync": self.syncs(),
            "rules": {"waiting": self._rulebook.waiting, "why": [str(problem) for problem in self._rulebook.problems[:20]]},
            "uptime_seconds": int(time.time() - self._status.started),
        }
        if self._node is not None:
            try:
                report.update(await self._node.health())
            except LedgerDown as error:
                report["ledger"] = {"state": "down", "why": str(error)}
            ready = self._status.serving and report["ledger"]["state"] != "down"
            report["status"] = "ready" if ready else "not ready"
        return _json(told(report), status=200 if ready else 503)

    async def metrics(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/-/metrics` in the Prometheus text format."""
        if path != "/-/metrics":
            return problem(404, "Not found", "metrics are at /-/metrics")
        body = self._metrics.text()
        if self._node is not None:
            try:
                body = merged(**await self._node.measures())
            except LedgerDown:
                return problem(503, "Nothing to say", "the keeper of this mirror has gone, and with it what it counted")
        return web.Response(
            body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8", **_SAFE}
        )

    def _measure(self) -> None:
        self._metrics.ledger_up.set(0 if self._ledger.state == "down" else 1)
        self._metrics.ledger_reserve.set(int(self._ledger.state == "reserve"))
        self._metrics.index_up.set(0 if self._index.fault else 1)
        self._metrics.epoch.set(self._rulebook.current.number)
        self._metrics.policy_problems.set(len(self._rulebook.problems))
        self._metrics.policy_waiting.set(int(self._rulebook.waiting))
        self._metrics.lists(self._rulebook.lists)
        self._metrics.catalogue(self._rulebook.pack)
        self._metrics.known_origins(self._gateway.recorder.origins)

    # --- pages ----------------------------------------------------------------------------------------------------

    async def landing(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/`: what this is and how to point a client at it."""
        policy = self._rulebook.current.policy
        # A rule that passes on the hub's own no refuses nothing that clients would have had without this mirror.
        passed_on = [rule for rule in policy.rules if "upstream.blocks_client" in rule.when]
        enforced = [rule for rule in policy.rules if str(rule.mode) == "enforce" and rule not in passed_on]
        audited = [rule for rule in policy.rules if str(rule.mode) != "enforce"]
        page = self._pages.get_template("landing.html").render(
            version=__version__,
            url=self._public_url or f"{request.scheme}://{request.host}",
            offline=self._gateway.offline,
            enforced=len(enforced),
            permits=policy.permits_by_default,
            passed_on=bool(passed_on),
            audited=[rule.id for rule in audited],
            problems=len(self._rulebook.problems),
            policy=policy.digest,
            ledger=self._ledger.state,
        )
        return _html(page)

    async def blocked(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/-/blocked/{decision}`: one decision as a page or as JSON, never who asked."""
        identity = path.removeprefix("/-/blocked/").upper()
        if not is_ulid(identity):
            return problem(404, "Not found", "a decision's id has 26 characters, such as 01J8ZQ4Y3S5T6V7W8X9YABCDEF")
        decision = await self._decision(identity)
        if decision is None:
            return problem(404, "Not found", f"this mirror holds no decision {identity}")
        if _wants_html(request):
            page = self._pages.get_template("blocked.html")
            return _html(page.render(decision=decision, contact=self._gateway.recorder.contact, version=__version__))
        return _json(decision)

    async def api(self, request: web.Request, path: str, query: str) -> web.StreamResponse:
        """`/-/api/v1/decisions/{id}`: the JSON of the page above."""
        prefix = "/-/api/v1/decisions/"
        if not path.startswith(prefix):
            return problem(404, "Not found", f"there is {prefix}ID")
        decision = await self._decision(path.removeprefix(prefix).upper())
        return problem(404, "Not found", "no such decision") if decision is None else _json(decision)

    async def _decision(self, identity: str) -> Mapping[str, Any] | None:
        recent = self._gateway.recorder.recent(identity)
        if recent is not None:
            return recent
        record = await self._index.find_decision(identity)
        if record is None and self._node is not None:  # another worker may have decided it a moment ago
            with suppress(LedgerDown, OSError):
                await self._node.level()
            record = await self._index.find_decision(identity)
        if record is None:
            return None
        found = record.get("decision")
        return public_decision(found) if isinstance(found, Mapping) else None


def reduced(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report of health without the folders, hosts and addresses to which the record is sent, and the errors that name them."""
    signed = report["checkpoints"]
    if signed is not None:
        signed = {**signed, "to": [_by_kind(one) for one in signed["to"]]}
    return {**report, "checkpoints": signed, "sinks": [_by_kind(one) for one in report["sinks"]]}


def _by_kind(place: Mapping[str, Any]) -> dict[str, Any]:
    return {**place, "to": place["to"].partition(":")[0], "why": "the log and the admin address say why" if place["why"] else ""}


def _wants_html(request: web.Request) -> bool:
    return "text/html" in request.headers.get("Accept", "")


def _json(value: Any, status: int = 200) -> web.Response:
    body = json.dumps(value, ensure_ascii=False, indent=2, default=str).encode()
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **_SAFE})


def _html(page: str) -> web.Response:
    return web.Response(body=page.encode(), headers={"Content-Type": "text/html; charset=utf-8", **_SAFE})
