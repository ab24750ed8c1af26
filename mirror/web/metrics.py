"""What operators measure. No label ever holds a repository, a user or a path."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest

from mirror.lists.signed import PackCondition
from mirror.lists.standing import Condition

_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 120)


@dataclass(slots=True)
class Answered:
    """What counts answers of one kind: their number, their times, their bytes, and where their bodies came from.

    Only times are told at once; a lock for each of the others would be most of the cost of a small answer.
    """

    requests: Counter
    times: Histogram
    bodies: Counter
    cache: Counter | None
    _number: int = 0
    _sent: int = 0

    def count(self, seconds: float, sent: int) -> None:
        """Count one answer, of so many bytes."""
        self._number += 1
        self._sent += sent
        self.times.observe(seconds)

    def settle(self) -> None:
        """Hand over what was counted."""
        number, sent, self._number, self._sent = self._number, self._sent, 0, 0
        self.requests.inc(number)
        self.bodies.inc(sent)
        if self.cache is not None:
            self.cache.inc(number)


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
        self.changed = Counter("mirror_changed_verdicts", "Files handed out that would be refused since their lineage or the catalogue changed.", registry=self.registry)
        self.limited = Counter("mirror_limited", "Requests over their client's limit.", ("hub",), registry=self.registry)
        self.in_flight = Gauge("mirror_requests_in_progress", "Requests being answered.", registry=self.registry)
        self.policy_problems = Gauge(
            "mirror_policy_problems", "Problems in the rule files as they lie on disk; 0 when they are in force.",
            registry=self.registry,
        )  # fmt: skip
        self.policy_waiting = Gauge("mirror_policy_waiting", "1 while a changed policy waits for signatures.", registry=self.registry)
        self.origins = Counter("mirror_permitted_origin", "Permitted answers about files.", ("hub", "origin"), registry=self.registry)
        self._origins: dict[tuple[str, str], int] = {}
        self.catalogue_age = Gauge("mirror_catalogue_age_seconds", "Time since the date of the signed catalogue pack in force.", registry=self.registry)
        self.catalogue_alarm = Gauge("mirror_catalogue_alarm", "1 while that pack is too old, missing or a newer one is kept out.", registry=self.registry)
        self.list_entries = Gauge("mirror_list_entries", "Entries of the edition in force.", ("list",), registry=self.registry)
        self.list_age = Gauge("mirror_list_age_seconds", "Time since its source was last seen to have no newer one.", ("list",), registry=self.registry)
        self.list_alarm = Gauge("mirror_list_alarm", "1 while a list is too old or its newest edition is kept out.", ("list",), registry=self.registry)
        self.epoch = Gauge("mirror_policy_epoch", "How often rules came into force since start.", registry=self.registry)
        self.ledger_up = Gauge("mirror_ledger_up", "1 while events can be recorded.", registry=self.registry)
        self.ledger_reserve = Gauge("mirror_ledger_on_reserve", "1 while the ledger's disk is full and it lives on its reserve.", registry=self.registry)
        self.signed = Gauge("mirror_ledger_checkpoint_records", "Records of the ledger that the newest checkpoint covers.", registry=self.registry)
        self.signed_age = Gauge("mirror_ledger_checkpoint_age_seconds", "Time since a checkpoint was last made, or found to cover everything.", registry=self.registry)
        self.export_alarm = Gauge("mirror_ledger_export_alarm", "1 while a place does not take checkpoints.", ("to",), registry=self.registry)
        self.sink_lag = Gauge("mirror_ledger_sink_lag_records", "Records that a sink has not delivered yet.", ("sink",), registry=self.registry)
        self.sink_age = Gauge("mirror_ledger_sink_lag_seconds", "Age of the oldest event that a sink is trying to deliver.", ("sink",), registry=self.registry)
        self.sink_alarm = Gauge("mirror_ledger_sink_alarm", "1 while the receiver of a sink does not take events.", ("sink",), registry=self.registry)
        self.stored = Gauge("mirror_store_bytes", "Bytes of cached files, and room promised to downloads.", ("what",), registry=self.registry)
        self.evicted = Counter("mirror_evicted", "Files removed to make room.", registry=self.registry)
        self.freed = Counter("mirror_evicted_bytes", "Bytes freed by removing files.", registry=self.registry)
        self.damaged = Counter("mirror_damaged_files", "Stored files that were not what they had been.", registry=self.registry)
        self.index_up = Gauge("mirror_index_up", "1 while the index's database answers.", registry=self.registry)
        self.syncs = Counter("mirror_sync_runs", "Scheduled syncs that ended.", ("wants", "outcome"), registry=self.registry)
        self.sync_age = Gauge("mirror_sync_age_seconds", "Time since the last scheduled sync ended.", ("wants",), registry=self.registry)
        self.sync_failing = Gauge("mirror_sync_alarm", "1 while the last scheduled sync did not get all that is wanted.", ("wants",), registry=self.registry)
        self._children: dict[tuple[str, str, str, int, str], Answered] = {}
        self._refreshers: list[Callable[[], None]] = []

    def answered(self, hub: str, route: str, method: str, status: int, origin: str) -> Answered:
        """What counts such answers. `origin` is where their bodies come from in one word, "" for none."""
        key = (hub, route, method, status, origin)
        found = self._children.get(key)
        if found is None:
            cache = self.cache.labels(hub, origin) if origin else None
            requests = self.requests.labels(hub, route, method, str(status))
            found = self._children[key] = Answered(requests, self.seconds.labels(hub, route), self.sent.labels(hub), cache)
        return found

    def lists(self, conditions: Iterable[Condition]) -> None:
        """Tell how screening lists stand. They are named in the configuration, so that there are few."""
        for one in conditions:
            self.list_entries.labels(one.name).set(one.entries)
            self.list_age.labels(one.name).set(one.age.total_seconds() if one.age is not None else 0)
            self.list_alarm.labels(one.name).set(int(one.alarming))

    def checkpoints(self, condition: Mapping[str, Any], age: float) -> None:
        """Tell how the ledger's checkpoints stand (`Checkpointer.condition`). Places are told by number and kind, as they are configured."""
        self.signed.set(condition["records"])
        self.signed_age.set(age)
        for at, one in enumerate(condition["to"]):
            self.export_alarm.labels(f"{at}-{one['to'].partition(':')[0]}").set(int(one["state"] != "ok"))

    def sinks(self, standing: Iterable[tuple[str, int, float, bool]]) -> None:
        """Tell how copies of the ledger get on: of each sink its name, how many records and seconds it is behind, and whether it fails."""
        for name, lag, age, failing in standing:
            self.sink_lag.labels(name).set(lag)
            self.sink_age.labels(name).set(age)
            self.sink_alarm.labels(name).set(int(failing))

    def known_origins(self, counts: Mapping[tuple[str, str], int]) -> None:
        """Tell how many permitted answers there were so far, by (hub, what was known of the origin)."""
        for key, count in list(counts.items()):
            self.origins.labels(*key).inc(count - self._origins.get(key, 0))
            self._origins[key] = count

    def catalogue(self, condition: PackCondition | None) -> None:
        """Tell how the signed catalogue pack stands; None where none is configured."""
        if condition is not None:
            self.catalogue_age.set(condition.age.total_seconds() if condition.age is not None else 0)
            self.catalogue_alarm.set(int(condition.alarming))

    def synced(self, runs: Iterable[tuple[str, tuple[str, float] | None]]) -> None:
        """Tell how scheduled syncs stand: by name (outcome of the last run, seconds since); None for one that never ran."""
        for name, last in runs:
            if last is not None:
                self.sync_age.labels(name).set(last[1])
                self.sync_failing.labels(name).set(int(last[0] != "complete"))

    def before_reading(self, refresh: Callable[[], None]) -> None:
        """Have `refresh` set gauges just before each exposition."""
        self._refreshers.append(refresh)

    def _refresh(self) -> None:
        for answered in self._children.values():
            answered.settle()
        for refresh in self._refreshers:
            refresh()

    def text(self) -> bytes:
        """The exposition."""
        self._refresh()
        return generate_latest(self.registry)

    def parts(self) -> list[Any]:
        """The same as plain JSON values, for `merged`: families of [name, type, help, [[sample, labels, value], ...]]."""
        self._refresh()
        return [
            [family.name, family.type, family.documentation, [[one.name, one.labels, one.value] for one in family.samples]]
            for family in self.registry.collect()
        ]


_OF_LISTS: Final = {"mirror_catalogue_age_seconds": max, "mirror_catalogue_alarm": max, "mirror_list_entries": max, "mirror_list_age_seconds": max, "mirror_list_alarm": max}
#: Gauges that say how the whole stands, not how much of it there is: how several processes make one value.
_NOT_SUMS: Final = {"mirror_policy_problems": max, "mirror_policy_waiting": max, **_OF_LISTS, "mirror_ledger_checkpoint_records": max, "mirror_ledger_checkpoint_age_seconds": max, "mirror_ledger_on_reserve": max, "mirror_ledger_export_alarm": max, "mirror_ledger_sink_lag_records": max, "mirror_ledger_sink_lag_seconds": max, "mirror_ledger_sink_alarm": max, "mirror_sync_age_seconds": max, "mirror_sync_alarm": max, "mirror_policy_epoch": min, "mirror_ledger_up": min, "mirror_index_up": min}


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
