"""What was in force while, as the records say: policies and who activated them, lists and their age, outages. Pure.

Fed with the ledger's lines in order, from the first one on. Only records that tell of such things are parsed; of decisions
the policy and the lists that they cite are compared as text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from mirror.core.canonical import canonical, instant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

_DECISION: Final = b',"decision":{'
_LISTS: Final = re.compile(rb'"lists":(\{[^{}]*\}),"matches":')
_POLICY: Final = re.compile(rb'"policy":"([0-9a-f]{64})","project":')
_KIND: Final = b',"kind":"'
_TELLING: Final = frozenset({b"policy", b"started", b"stopped", b"recovered", b"waiver", b"emergency", b"review"})
#: Signed statements that change what is in force without another policy file.
_BESIDE: Final = ("waiver", "emergency", "review")
_DAY: Final = timedelta(days=1)


@dataclass(slots=True)
class Span:
    """Something that was so from a moment until another (empty: still so at the end). `sequence`: the record that says it."""

    what: Any
    since: str
    sequence: int
    until: str = ""
    detail: dict[str, Any] = field(default_factory=dict)


class Timeline:
    """`grounds` are the lines from before the range on which what is told rests, by what they are for."""

    def __init__(self) -> None:
        self.policies: list[Span] = []
        self.lists: dict[str, list[Span]] = {}
        self.outages: list[Span] = []
        self.statements: list[dict[str, Any]] = []
        self.rejected: list[dict[str, Any]] = []
        self.approvals: dict[str, dict[str, Any]] = {}
        self._adopted: dict[tuple[str, str], list[tuple[str, int]]] = {}
        self.grounds: dict[str, int] = {}
        self._within = False
        self._last_at = ""
        self._starting = False  # this record was written by a start, before it said so
        self._now: tuple[str, bytes] | None = None
        self._before: tuple[str, bytes] | None = None

    def feed(self, sequence: int, line: bytes, at: str, *, within: bool) -> None:
        """One record. `within`: it belongs to the range; what comes before that is remembered only as far as it still holds."""
        if within and not self._within:
            self._begin(at)
        start = line.find(_DECISION)
        if start >= 0:
            self._decided(sequence, line, at, start)
        else:
            kind = line.rfind(_KIND) + len(_KIND)
            if line[kind : line.find(b'"', kind)] in _TELLING:
                self._told(sequence, json.loads(line), at)
        if at and not self._starting:
            self._last_at = at
        self._starting = False

    def _begin(self, at: str) -> None:
        """Forget what had ended before: the policy and the lists that hold now are the first."""
        self._within = True
        self.policies = self.policies[-1:]
        self.lists = {name: spans[-1:] for name, spans in self.lists.items() if not spans[-1].until}
        self.outages = [one for one in self.outages if not one.until]
        for name, one in [*(("policy", one) for one in self.policies), *((f"list {name}", spans[0]) for name, spans in self.lists.items()), *(("outage", one) for one in self.outages)]:
            self.grounds[name] = one.sequence

    # --- decisions ------------------------------------------------------------------------------------------------

    def _decided(self, sequence: int, line: bytes, at: str, start: int) -> None:
        policy, lists = _POLICY.search(line, start), _LISTS.search(line, start)
        if policy is None:
            return
        cited = policy[1].decode(), lists[1] if lists is not None else b"{}"
        # A request that began under the rules before is still judged by them: they have not come back into force.
        if cited not in (self._now, self._before):
            self._judge(cited, at, sequence, "a decision cites it")

    # --- what is told ---------------------------------------------------------------------------------------------

    def _told(self, sequence: int, record: Mapping[str, Any], at: str) -> None:
        kind, detail, subject = record["kind"], record.get("detail", {}), record["subject"]
        if kind == "policy" and "osv" not in detail:
            self._rules(sequence, detail, subject, at)
        elif kind == "started":
            self._started(sequence, detail, at)
        elif kind == "stopped":
            self.outages.append(Span("the mirror was stopped", at, sequence))
        elif kind == "recovered":
            self._recovered(sequence, detail, at)
        elif kind in _BESIDE and self._within:
            known = {name: detail[name] for name in ("outcome", "rule", "approved_by", "requested_by", "envelope", "expires", "until") if name in detail}
            self.statements.append({"seq": sequence, "at": at, "kind": kind, "id": subject, **known})

    def _rules(self, sequence: int, detail: Mapping[str, Any], subject: str, at: str) -> None:
        outcome = detail.get("outcome")
        if outcome == "activated":
            self._begins(subject, detail, at, sequence, "activated")
        elif outcome == "approved":
            names = ("number", "requested_by", "approved_by", "envelope")
            self.approvals[subject] = {"seq": sequence, "at": at, **{name: detail[name] for name in names if name in detail}}
        elif outcome == "adopted":
            self._adopted.setdefault((detail["list"], subject), []).append((at, sequence))
        elif outcome == "rejected" and self._within:
            row = {"seq": sequence, "at": at, "in_force": subject, "problems": list(detail.get("problems", ()))}
            self.rejected.append({**row, "list": detail["list"]} if "list" in detail else row)

    def _started(self, sequence: int, detail: Mapping[str, Any], at: str) -> None:
        open_ = next((one for one in self.outages if not one.until and one.what == "the mirror was stopped"), None)
        if open_ is not None:
            open_.until = at
        elif self._last_at:
            said = "the mirror ended without a word; the record before is the last thing that is known of it"
            self.outages.append(Span(said, self._last_at, sequence, at))
        for name, came in detail.get("adopted", {}).items():
            self._adopted.setdefault((name, detail["lists"][name]), []).append((came, sequence))
        if "policy" in detail:
            self._begins(str(detail["policy"]), detail, at, sequence, "the mirror was started with it")

    def _recovered(self, sequence: int, detail: Mapping[str, Any], at: str) -> None:
        if "outage" in detail:
            self.outages.append(Span(str(detail["outage"]), str(detail.get("since", at)), sequence, at))
        elif "gap" in detail:
            gap = detail["gap"]
            said = f"the ledger was set back: records after {gap['since']}, up to {gap['published']}, are lost"
            self.outages.append(Span(said, at, sequence, at, {"source": gap.get("source", "")}))
        else:
            self._starting = "file" in detail
            what = "an incomplete write was cut off" if "file" in detail else "the file of checkpoints was set aside"
            self.outages.append(Span(what, at, sequence, at, {key: detail[key] for key in sorted(detail)}))

    def adoption(self, name: str, one: Span) -> tuple[str, int] | None:
        """When an edition that judged had come - for the last time before it did - and the record that says so."""
        return max((row for row in self._adopted.get((name, one.what), ()) if row[0] <= one.since), default=None)

    # --- what holds -----------------------------------------------------------------------------------------------

    def _begins(self, policy: str, detail: Mapping[str, Any], at: str, sequence: int, how: str) -> None:
        if "lists" in detail:
            self._judge((policy, canonical(detail["lists"])), at, sequence, how)
        else:
            self._now = self._before = None  # with which lists, the first decision says
            self._policy(policy, at, sequence, how)

    def _judge(self, rules: tuple[str, bytes], at: str, sequence: int, how: str) -> None:
        """These rules - a policy, and the editions of lists as canonical JSON - are in force from here on."""
        if rules != self._now:
            self._before, self._now = self._now, rules
        self._policy(rules[0], at, sequence, how)
        self._editions(json.loads(rules[1]), at, sequence)

    def _policy(self, digest: str, at: str, sequence: int, how: str) -> None:
        current = self.policies[-1] if self.policies else None
        if current is not None and current.what == digest:
            return
        if current is not None:
            current.until = at
        self.policies.append(Span(digest, at, sequence, detail={"how": how}))

    def _editions(self, editions: Mapping[str, str], at: str, sequence: int) -> None:
        for name, spans in self.lists.items():
            if not spans[-1].until and editions.get(name) != spans[-1].what:
                spans[-1].until = at
        for name, edition in editions.items():
            spans = self.lists.setdefault(name, [])
            if not spans or spans[-1].until:
                spans.append(Span(edition, at, sequence))


# --- what is written of it --------------------------------------------------------------------------------------------


def policy_rows(timeline: Timeline, base_of: Callable[[str], tuple[str, list[str]] | None]) -> list[dict[str, Any]]:
    """Every policy that judged, in order. `base_of` gives the digest of its files without what was signed beside them, and all their names."""
    rows = []
    for one in timeline.policies:
        base = base_of(one.what)
        approval = timeline.approvals.get(one.what) or (timeline.approvals.get(base[0]) if base else None)
        rows.append({
            "policy": one.what, "from": one.since, "until": one.until or None, "seq": one.sequence, "how": one.detail["how"],
            "activation": approval, "files": base[1] if base else None,
        })  # fmt: skip
    return rows


def outage_rows(timeline: Timeline) -> list[dict[str, Any]]:
    """Every time in which nothing was recorded, and what was found after it."""
    rows = [{"what": one.what, "from": one.since, "until": one.until or None, "seq": one.sequence, **({"detail": one.detail} if one.detail else {})} for one in timeline.outages]
    return sorted(rows, key=lambda row: (row["from"], row["seq"]))


def list_rows(timeline: Timeline, noted: Callable[[str, str], Mapping[str, Any] | None], end: str) -> list[dict[str, Any]]:
    """Every edition that judged, in order, with its age when it began and ceased to (or at `end`), in whole days.

    `noted` gives what the mirror noted of an edition beside its files - the date that it bears, sources, entries - or None. Ages are since it came, and since the date that it
    bears itself; None: unknown.
    """
    rows = []
    for name, spans in sorted(timeline.lists.items()):
        for one in spans:
            note = noted(name, one.what) or {}
            adoption = timeline.adoption(name, one)
            came = adoption[0] if adoption else None
            stated = note.get("stated")
            rows.append({
                "list": name, "edition": one.what, "from": one.since, "until": one.until or None, "seq": one.sequence,
                "fetched_at": came, "fetched_by_record": adoption[1] if adoption else None,
                "stated": stated, "sources": note.get("sources"), "entries": note.get("entries"),
                "age_at_start_days": _days(came, one.since), "age_at_end_days": _days(came, one.until or end),
                "stated_age_at_start_days": _days(stated, one.since), "stated_age_at_end_days": _days(stated, one.until or end),
            })  # fmt: skip
    return rows


def list_days(rows: Iterable[Mapping[str, Any]], since: str, until: str) -> Iterator[dict[str, Any]]:
    """The same day by day, at midnight UTC: which edition judged, and how old it was."""
    known = list(rows)
    moment = datetime.fromisoformat(since)
    end = datetime.fromisoformat(until)
    while moment < end:
        at = instant(moment)
        for row in known:
            if row["from"] <= at and (row["until"] is None or at < row["until"]):
                yield {
                    "day": at[:10], "list": row["list"], "edition": row["edition"], "fetched_at": row["fetched_at"], "age_days": _days(row["fetched_at"], at),
                    "stated": row["stated"], "stated_age_days": _days(row["stated"], at),
                }  # fmt: skip
        moment = moment.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY


def _days(since: str | None, until: str) -> int | None:
    if not since:
        return None
    begin = datetime.fromisoformat(since)
    end = datetime.fromisoformat(until)
    return (end - (begin if begin.tzinfo else begin.replace(tzinfo=end.tzinfo))).days
