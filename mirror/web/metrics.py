"""What operators measure. No label ever holds a repository, a user or a path."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120)


class Metrics:
    """Our own registry; `text()` is the exposition format 0.0.4."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mirror_requests", "Requests answered.", ("hub", "route", "method", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "mirror_request_seconds", "Time until the answer was complete.", ("hub", "route"),
            buckets=_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.decisions = Counter("mirror_refusals", "Refusals answered.", ("hub", "effect"), registry=self.registry)
        self.sent = Counter("mirror_sent_bytes", "Body bytes sent to clients.", ("hub",), registry=self.registry)
        self.cache = Counter("mirror_cache", "Bodies by origin.", ("hub", "outcome"), registry=self.registry)
        self.faults = Counter("mirror_faults", "Failures by kind.", ("kind",), registry=self.registry)
        self.limited = Counter("mirror_limited", "Requests over their client's limit.", ("hub",), registry=self.registry)
        self.in_flight = Gauge("mirror_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.policy_problems = Gauge(
            "mirror_policy_problems", "Problems in the rule files as they lie on disk; 0 when they are in force.",
            registry=self.registry,
        )  # fmt: skip
        self.epoch = Gauge("mirror_policy_epoch", "How often rules came into force since start.", registry=self.registry)
        self.ledger_up = Gauge("mirror_ledger_up", "1 while events can be recorded.", registry=self.registry)
        self.stored = Gauge("mirror_store_bytes", "Bytes of cached files, and room promised to downloads.", ("what",), registry=self.registry)
        self.evicted = Counter("mirror_evicted", "Files removed to make room.", registry=self.registry)
        self.freed = Counter("mirror_evicted_bytes", "Bytes freed by removing files.", registry=self.registry)
        self.damaged = Counter("mirror_damaged_files", "Stored files that were not what they had been.", registry=self.registry)
        self.index_up = Gauge("mirror_index_up", "1 while the index's database answers.", registry=self.registry)
        self._children: dict[tuple[str, str, str, int, str], tuple[Counter, Histogram, Counter, Counter | None]] = {}
        self._refreshers: list[Callable[[], None]] = []

    def answered(self, hub: str, route: str, method: str, status: int, seconds: float, sent: int, origin: str) -> None:
        """Count one answer. `origin` is where its body came from in one word, "" for none. Looking labels up is most of the cost."""
        key = (hub, route, method, status, origin)
        found = self._children.get(key)
        if found is None:
            cache = self.cache.labels(hub, origin) if origin else None
            found = (self.requests.labels(hub, route, method, str(status)), self.seconds.labels(hub, route), self.sent.labels(hub), cache)
            self._children[key] = found
        requests, times, bodies, cache = found
        requests.inc()
        times.observe(seconds)
        bodies.inc(sent)
        if cache is not None:
            cache.inc()

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` set gauges just before each exposition."""
        self._refreshers.append(refresh)

    def text(self) -> bytes:
        """The exposition."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)

    def parts(self) -> list[Any]:
        """The same as plain JSON values, for `merged`: families of [name, type, help, [[sample, labels, value], ...]]."""
        for refresh in self._refreshers:
            refresh()
        return [
            [family.name, family.type, family.documentation, [[one.name, one.labels, one.value] for one in family.samples]]
            for family in self.registry.collect()
        ]


#: Gauges that say how the whole stands, not how much of it there is: how several processes make one value.
_NOT_SUMS: Final = {"mirror_policy_problems": max, "mirror_policy_epoch": min, "mirror_ledger_up": min, "mirror_index_up": min}


def merged(now: Sequence[Any], retired: Sequence[Any]) -> bytes:
    """The exposition of several processes as one: `Metrics.parts` of each. Of those that have ended only counts go on."""
    families: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for alive, parts in (*((True, one) for one in now), *((False, one) for one in retired)):
        for name, kind, help_text, samples in parts:
            if not alive and kind == "gauge":
                continue
            families.setdefault(name, Metric(name, help_text, kind))
            found = values.setdefault(name, {})
            for sample, labels, value in samples:
                key = (sample, tuple(sorted(labels.items())))
                join = min if sample.endswith("_created") else _NOT_SUMS.get(name, operator.add)
                found[key] = join(found[key], value) if key in found else value
    for name, family in families.items():
        for (sample, labels), value in values[name].items():
            family.add_sample(sample, dict(labels), value)
    return generate_latest(_Collected(list(families.values())))


class _Collected(CollectorRegistry):
    """Families that were gathered elsewhere."""

    def __init__(self, families: Sequence[Metric]) -> None:
        super().__init__()
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Them."""
        yield from self._families
