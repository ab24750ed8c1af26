"""What the ledger has of the past: every decision worked out once more, requests as they came, the policy of a moment."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.record import decision_json, public_decision
from mirror.audit.retention import is_stub
from mirror.audit.segments import Reader, lines, segments
from mirror.core.canonical import instant
from mirror.core.decision import Decision, Effect, Mode, RequestInfo
from mirror.core.ids import made_at
from mirror.core.purl import parse_artifact
from mirror.policy.evaluate import evaluate
from mirror.policy.recorded import Judged, judged
from mirror.policy.replay import KINDS, Answer, Asked, Deviation, deviations, rederived
from mirror.watch.archived import ArchivedRules, NotArchived

if TYPE_CHECKING:
    from mirror.policy.catalogue import Catalogue
    from mirror.policy.epoch import Epoch

_PAGE: Final = 1000
#: How much earlier than its id an event may be dated: clocks are set back.
_EARLIER: Final = timedelta(days=1)
#: Outcomes of events of kind `policy` that say which policy judges from then on.
_IN_FORCE: Final = frozenset({"activated"})


@dataclass(frozen=True, slots=True)
class Recomputed:
    """One decision, worked out once more. `missing` says why it could not be; `notes` what may explain `deviations`."""

    sequence: int
    decision: str
    artifact: str
    version: str
    deviations: tuple[Deviation, ...] = ()
    missing: str = ""
    notes: tuple[str, ...] = ()


def records(directory: Path, since: datetime | None = None, until: datetime | None = None) -> Iterator[dict[str, Any]]:
    """The ledger's records in order, with their personal parts, from `since` (inclusive) until `until` (exclusive)."""
    first, last = instant(since) if since else "", instant(until) if until else "~"
    reader = Reader(directory, _start(directory, first))
    while page := reader.read(_PAGE):
        yield from (record for record in page if first <= record["at"] < last)


def _start(directory: Path, since: str) -> int:
    """The sequence from which on records may be as late as `since`: clocks are set back, so one segment more is read."""
    known = segments(directory)
    before = [one.first for one in known if (begins := _begins(one.path)) and begins < since] if since else []
    return before[-2] if len(before) > 1 else 0


def _begins(path: Path) -> str:
    """When the first record of a segment was made that is still there; empty for none."""
    line = next((line for line in lines(path) if not is_stub(line)), b"")
    return str(json.loads(line)["at"]) if line else ""


def case_of(record: Mapping[str, Any], catalogue: Catalogue) -> Judged:
    """What a record's decision was about: of a page, the one of its files that was refused most severely.

    Raises `ValueError`, `TypeError` or `KeyError` for a decision that this release cannot read.
    """
    case = judged(record["decision"], catalogue)
    if record["kind"] != "steered":
        return case
    return replace(case, artifact=parse_artifact(record["detail"]["judged"]))


# --- the same rules --------------------------------------------------------------------------------------------------


async def recompute(directory: Path, rules: ArchivedRules, since: datetime | None = None) -> AsyncIterator[Recomputed]:
    """Every decision of the ledger, from its facts and the archive, without a look at what was decided."""
    version = ""
    for record in records(directory, since):
        if record["kind"] == "started":
            version = str(record.get("detail", {}).get("version", ""))
        if "decision" in record:
            yield await recomputed(record, rules, version)


async def recomputed(record: Mapping[str, Any], rules: ArchivedRules, version: str = "") -> Recomputed:
    """One record that holds a decision."""
    decision = record["decision"]
    row = Recomputed(record["seq"], decision["id"], decision["artifact"], version)
    try:
        revived = await rules.of(decision)
        case = case_of(record, revived.epoch.catalogue)
        found = again(record, case, revived.epoch)
    except NotArchived as error:
        return replace(row, missing=error.what)
    except (ValueError, TypeError, KeyError) as error:
        return replace(row, missing=f"the record cannot be read by this release: {error!r}")
    return replace(row, deviations=tuple(deviations(record["kind"], public_decision(decision), found)), notes=revived.notes)


def again(record: Mapping[str, Any], case: Judged, epoch: Epoch) -> dict[str, Any]:
    """The decision as it follows from `case` under `epoch`, in the JSON of the record, without who asked."""
    stated = record["decision"]
    facts = rederived(case, epoch.catalogue, epoch.lineage)
    verdict = evaluate(epoch.policy, case.artifact, facts, case.actor, case.at)
    request = RequestInfo(*(stated["request"].get(name) or "" for name in ("id", "method", "path", "user_agent")))
    named = parse_artifact(stated["artifact"])
    made = Decision(
        stated["id"], case.at, verdict, verdict.sentence, named, case.actor, facts, stated["policy"], stated["catalogue"],
        tuple(sorted(stated["lists"].items())), request, verdict.status,
    )  # fmt: skip
    return decision_json(made, public=True)


def find(directory: Path, identity: str) -> dict[str, Any] | None:
    """The record of a decision (a ULID, which begins with its time), or None."""
    since = made_at(identity) - _EARLIER
    return next((one for one in records(directory, since) if one.get("decision", {}).get("id") == identity), None)


# --- other rules -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests as they came, and how many decisions could not be read back."""

    asked: tuple[Asked, ...]
    unread: int = 0


def traffic(directory: Path, epoch: Epoch, since: datetime | None, until: datetime | None = None) -> Traffic:
    """What was asked for, refused and steered pages included. What catalogue and lineage say is as those of `epoch` have it."""
    found: dict[str, Asked] = {}
    unread = 0
    for record in records(directory, since, until):
        if record["kind"] == "repeated" and (known := found.get(record["subject"])) is not None:
            found[record["subject"]] = replace(known, times=known.times + record["count"])
        if record["kind"] not in KINDS or "decision" not in record:
            continue
        try:
            case = case_of(record, epoch.catalogue)
            case = replace(case, facts=rederived(case, epoch.catalogue, epoch.lineage))
        except (ValueError, TypeError, KeyError):
            unread += 1
            continue
        found[case.decision] = Asked(case, _given(record["decision"]), record["count"], record["kind"] == "steered")
    return Traffic(tuple(found.values()), unread)


def _given(decision: Mapping[str, Any]) -> Answer:
    effect = Effect[decision["effect"].upper()]
    rules = [one["id"] for one in decision["rules"] if one["mode"] == Mode.ENFORCE and not one.get("exception") and one["effect"] == effect.word]
    return Answer(effect, tuple(rules))


# --- the policy of a moment ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InForce:
    """Which policy judged from `since` on, as the ledger has it. `approvals` are those of all policies up to then, by digest."""

    digest: str
    since: str
    sequence: int
    approvals: Mapping[str, Mapping[str, Any]]


def in_force_at(directory: Path, moment: datetime) -> InForce | None:
    """The policy that judged at `moment`: what was started or activated last before it, as decisions bear out. None: no record."""
    found: InForce | None = None
    approvals: dict[str, Mapping[str, Any]] = {}
    for record in records(directory, None, moment):
        digest, detail = "", record.get("detail", {})
        if record["kind"] == "started":
            digest = str(detail.get("policy", ""))
        elif record["kind"] == "policy" and "osv" not in detail and "list" not in detail:
            if detail.get("outcome") == "approved":
                approvals[record["subject"]] = {**detail, "at": record["at"]}
            digest = record["subject"] if detail.get("outcome") in _IN_FORCE else ""
        elif "decision" in record:
            digest = record["decision"]["policy"]
        if digest and (found is None or found.digest != digest):
            found = InForce(digest, record["at"], record["seq"], approvals)
    return found
