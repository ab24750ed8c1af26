"""What operators measure. No label ever holds a repository, a user or a path."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

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
        self.in_flight = Gauge("mirror_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.policy_problems = Gauge(
            "mirror_policy_problems", "Problems in the rule files as they lie on disk; 0 when they are in force.",
            registry=self.registry,
        )  # fmt: skip
        self.epoch = Gauge("mirror_policy_epoch", "How often rules came into force since start.", registry=self.registry)
        self.ledger_up = Gauge("mirror_ledger_up", "1 while events can be recorded.", registry=self.registry)
        self._refreshers: list[Callable[[], None]] = []

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` set gauges just before each exposition."""
        self._refreshers.append(refresh)

    def text(self) -> bytes:
        """The exposition."""
        for refresh in self._refreshers:
            refresh()
        return generate_latest(self.registry)
