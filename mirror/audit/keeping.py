"""The retention of a ledger that this process owns: classes are sealed as records come, and what had its time is counted and removed.

Every removal is on the record before a byte goes: a run that is cut short anywhere is finished by the next one. Nothing waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from mirror.audit.classifier import Classifier
from mirror.audit.erasing import old_parts, parts_of, ranges_of
from mirror.audit.holds import LIFTED, Holds
from mirror.audit.retention import Ages, Removal, Sums, Terms, Window, bits, is_due, numbers, removal_of, window_of
from mirror.audit.rewriting import clear_drafts, erase_parts, remove_records
from mirror.audit.segments import Reader, segments
from mirror.audit.survey import Notebook, survey
from mirror.core.canonical import instant
from mirror.core.decision import EventKind
from mirror.core.errors import InputError, LedgerDown, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mirror.audit.ledger import SegmentLedger
    from mirror.core.ports import Clock

_LOG = structlog.get_logger("mirror.audit")
#: A clock that moves by more between two looks has jumped; what is removed afterwards waits until it has gone on for so long.
JUMP: Final = timedelta(days=1)
SETTLED: Final = timedelta(days=2)
#: Between two looks at the clock, and between two at what has come in, in seconds.
_LOOK: Final = 3600.0
_CLASSES: Final = 60.0
#: Windows and rows of one `counts` record, at most.
_WINDOWS: Final = 64
_ROWS: Final = 20_000
#: Windows that a checkpoint waits for; more of them (after a long outage) follow in the background.
_AT_ONCE: Final = 4
_REMEMBERED: Final = 50_000
#: Ranges of sequences in one `erased` record, at most.
_RANGES: Final = 10_000


def looked(notebook: Notebook, now: datetime) -> bool:
    """Note that the clock says `now`; whether it has gone on for `SETTLED` without a jump."""
    if not notebook.looked or not notebook.settled or abs(now - datetime.fromisoformat(notebook.looked)) > JUMP:
        notebook.settled = instant(now)
    notebook.looked = instant(now)
    return now - datetime.fromisoformat(notebook.settled) >= SETTLED


@dataclass(slots=True)
class Outcome:
    """What a run removed, or would remove. `why` says why it did not; `held` are records whose time is over and which a hold keeps."""

    records: int = 0
    requests: int = 0
    held: int = 0
    personal: int = 0
    freed: int = 0
    keys: int = 0
    why: str = ""
    dry: bool = False


class Key(Protocol):
    """A key of pseudonyms and when it was in use."""

    @property
    def number(self) -> int:
        """Its name."""

    @property
    def since(self) -> datetime:
        """From when on."""

    @property
    def until(self) -> datetime | None:
        """Until when."""


class PeriodKeys(Protocol):
    """The keys of pseudonyms (`trust.pseudonyms.PseudonymKeys`)."""

    def ended(self, before: datetime) -> Sequence[Key]:
        """Keys that were in use no more at that moment."""

    def destroy(self, number: int) -> None:
        """For good."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one `counts` record is made of."""

    parts: tuple[tuple[Window, bytes], ...]
    sums: Sums

    def detail(self, allows: timedelta) -> dict[str, object]:
        removed = [{"classes": window.sequence, "removed": data.hex()} for window, data in self.parts]
        return {
            "allows": int(allows.total_seconds()), "removed": removed, "rows": self.sums.rows(), "records": self.sums.records,
            "requests": self.sums.requests,
        }  # fmt: skip


class Retention:
    """Classes, removal, erasure and holds of one ledger. Its methods raise `LedgerDown`, `InputError` and `OSError`."""

    def __init__(
        self, ledger: SegmentLedger, clock: Clock, terms: Terms, every: timedelta = timedelta(days=1), keys: PeriodKeys | None = None
    ) -> None:
        self._ledger, self._clock, self.terms, self._every, self._keys = ledger, clock, terms, every, keys
        self.directory = ledger.directory
        self._classifier = Classifier(ledger.directory, terms.home)
        self._alone, self._classing = asyncio.Lock(), asyncio.Lock()
        self._skip = -1
        self.outcome = Outcome()
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what drives it -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Seal classes and remove what had its time, from now on."""
        self._tasks = {asyncio.create_task(self._grading(), name="classes"), asyncio.create_task(self._removing(), name="retention")}

    async def close(self) -> None:
        """Stop; what is under way is finished by the next run. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _grading(self) -> None:
        while True:
            await asyncio.sleep(_CLASSES)
            await self.classify(whole=True, most=1 << 30)

    async def _removing(self) -> None:
        while True:
            try:
                await self.look()
            except (LedgerDown, InputError, OSError, ValueError) as error:  # another time: nothing waits for it
                _LOG.warning("retention_not_done", why=str(error))
            await asyncio.sleep(_LOOK)

    async def look(self) -> None:
        """Look at the clock, and remove what had its time if a run is due."""
        notebook = await asyncio.to_thread(Notebook.read, self.directory)
        looked(notebook, self._clock.now())
        await asyncio.to_thread(notebook.keep, self.directory)
        last = notebook.expired
        if not last or abs(self._clock.now() - datetime.fromisoformat(last)) >= self._every:
            await self.expire()

    # --- classes --------------------------------------------------------------------------------------------------

    async def classify(self, *, whole: bool = False, most: int = _AT_ONCE) -> None:
        """Seal what is short-lived of what has come since; before each checkpoint, which then covers it, and does not wait for a disk that fails."""
        async with self._classing:
            for _ in range(most):
                try:
                    window = await asyncio.to_thread(self._classifier.next, self._ledger.head.count, whole=whole)
                except (OSError, ValueError) as error:
                    _LOG.warning("classes_not_sealed", why=str(error))
                    return
                if window is None:
                    return
                try:
                    await self._ledger.record_own(EventKind.CLASSES, window.detail()).durable()
                except LedgerDown:  # the last checkpoint of a stop, or a full disk: said after the next start
                    self._classifier.again(window)
                    return

    # --- removal --------------------------------------------------------------------------------------------------

    async def expire(self, *, dry: bool = False, sure: bool = False) -> Outcome:
        """Remove what had its time. `sure`: a person says that the clock is right; `dry`: only say what would go."""
        async with self._alone:
            notebook = await asyncio.to_thread(Notebook.read, self.directory)
            settled = looked(notebook, self._clock.now()) or sure
            outcome = Outcome(dry=dry)
            if not settled:
                outcome.why = f"the clock has been seen to go on without a jump since {notebook.settled} only: nothing is removed before {SETTLED.days} days of that"
            else:
                await self._expire(notebook, outcome)
            if not dry:
                notebook.expired = instant(self._clock.now()) if settled else notebook.expired
                await asyncio.to_thread(notebook.keep, self.directory)
            self.outcome = outcome
            if outcome.why:
                _LOG.info("retention_waits", why=outcome.why)
            if outcome.records or outcome.personal:
                _LOG.info("retention", records=outcome.records, personal=outcome.personal, held=outcome.held, freed=outcome.freed)
            return outcome

    async def _expire(self, notebook: Notebook, outcome: Outcome) -> None:
        self._skip = -1
        if not outcome.dry:
            await asyncio.to_thread(clear_drafts, self.directory)
            outcome.freed += await self._carry_out(notebook)
        while True:
            batch = await asyncio.to_thread(self._batch, notebook, outcome)
            if batch is None:
                break
            outcome.records += batch.sums.records
            outcome.requests += batch.sums.requests
            if outcome.dry:
                continue
            self._ledger.turn()
            await self._ledger.record_own(EventKind.COUNTS, batch.detail(self.terms.allows)).durable()
            outcome.freed += await self._carry_out(notebook)
        await self._expire_parts(notebook, outcome)
        await self._expire_keys(notebook, outcome)

    def _batch(self, notebook: Notebook, outcome: Outcome) -> _Batch | None:
        """The next windows whose time is over, counted."""
        now = self._clock.now()
        records = survey(self.directory, notebook, self._ledger.head.count)
        holds = self._holds(notebook)
        removed: dict[int, int] = {}
        for one in records:
            if one["kind"] == "counts":
                for number, data in removal_of(one).parts:
                    removed[number] = removed.get(number, 0) | int.from_bytes(data, "little")
        ages, parts = Ages(instant(now)), list[tuple[Window, bytes]]()
        sums = Sums(notebook.decided if not outcome.dry else dict(notebook.decided))
        for window in (window_of(one) for one in records if one["kind"] == "classes"):
            due = is_due(ages.sealed(window), now, self.terms.allows)
            left = int.from_bytes(window.short, "little") & ~removed.get(window.sequence, 0)
            if not due or not left or window.sequence <= self._skip:
                continue
            data = self._counted(window, left.to_bytes(len(window.short), "little"), sums, holds, outcome)
            self._skip = window.sequence
            if any(data):
                parts.append((window, data))
            if len(parts) >= _WINDOWS or len(sums) >= _ROWS:
                break
        _forget(notebook.decided)
        return _Batch(tuple(parts), sums) if parts else None

    def _counted(self, window: Window, left: bytes, sums: Sums, holds: Holds, outcome: Outcome) -> bytes:
        """Add the records of a window that nothing holds; gives which."""
        chosen: list[int] = []
        wanted = set(numbers(window.since, window.until, left))
        reader = Reader(self.directory, window.since)
        while page := reader.read(500, window.until):
            for record in page:
                if record["seq"] not in wanted:
                    continue
                if _held(record, holds, sums.known):
                    outcome.held += 1
                    continue
                sums.add(record)
                chosen.append(record["seq"])
        return bits(window.since, window.until, chosen)

    async def _carry_out(self, notebook: Notebook) -> int:
        """Replace the files of everything that the record says was removed and that may still be there; gives the bytes that became free."""
        freed = 0
        while True:
            task = await asyncio.to_thread(self._undone, notebook)
            if task is None:
                return freed
            number, gone, whole = task
            known = segments(self.directory)
            for current, following in zip(known, [*known[1:], None], strict=True):
                here = {one for one in gone if one >= current.first and (following is None or one < following.first)}
                if here and following is not None:  # the record about it began a new segment
                    freed += await asyncio.to_thread(remove_records if whole else erase_parts, current, here)
            notebook.done = number
            await asyncio.to_thread(notebook.keep, self.directory)

    def _undone(self, notebook: Notebook) -> tuple[int, set[int], bool] | None:
        records = survey(self.directory, notebook, self._ledger.head.count)
        windows = {one["seq"]: window_of(one) for one in records if one["kind"] == "classes"}
        for one in records:
            if one["seq"] <= notebook.done:
                continue
            if one["kind"] == "counts":
                return one["seq"], set(_gone(removal_of(one), windows)), True
            if one["kind"] == "erased" and "sequences" in one["detail"]:
                return one["seq"], {at for since, until in one["detail"]["sequences"] for at in range(since, until)}, False
        return None

    def _holds(self, notebook: Notebook) -> Holds:
        return Holds().whole([one for one in survey(self.directory, notebook, self._ledger.head.count) if one["kind"] == "hold"])

    async def hold(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        """Record that a hold was added or lifted, as `detail` says; from the next record on it counts, for a removal under way too.

        Raises `InputError` for one that is not there, or that is lifted by who added it.
        """
        async with self._alone:
            notebook = await asyncio.to_thread(Notebook.read, self.directory)
            holds = await asyncio.to_thread(self._holds, notebook)
            hold = holds.standing.get(str(detail["id"]))
            if detail["outcome"] == LIFTED and hold is None:
                raise InputError([Problem("", "HOLD", f"no hold {detail['id']} stands")])
            if hold is not None and detail["outcome"] == LIFTED and str(detail["by"]).casefold() == hold.by.casefold():
                raise InputError([Problem("", "--by", f"{hold.by!r} added this hold, and another person lifts it")])
            sealed = await self._ledger.record_own(EventKind.HOLD, detail).durable()
            return {"id": detail["id"], "seq": sealed.sequence}

    async def viewed(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        """Record that questions about persons were opened (`outcome` opened) or asked (`used`); durable on return."""
        sealed = await self._ledger.record_own(EventKind.VIEW, detail).durable()
        return {"seq": sealed.sequence}

    async def holds(self) -> list[dict[str, Any]]:
        """Every hold that stands."""
        notebook = await asyncio.to_thread(Notebook.read, self.directory)
        return [one.row() for one in (await asyncio.to_thread(self._holds, notebook)).standing.values()]

    # --- personal parts -------------------------------------------------------------------------------------------

    async def _expire_parts(self, notebook: Notebook, outcome: Outcome) -> None:
        """Personal parts of what is kept long, once their time is over."""
        last = instant(self._clock.now() - self.terms.others)
        found = await asyncio.to_thread(old_parts, self.directory, notebook, self._holds(notebook), last, self._ledger.head.count)
        outcome.personal += len(found)
        if found and not outcome.dry:
            outcome.freed += await self._erase(notebook, found, "mirror", "their time is over", "expired")

    async def _expire_keys(self, notebook: Notebook, outcome: Outcome) -> None:
        """Keys of pseudonyms under which nothing is left whose time is not over; while a hold covers any of their time, none of them."""
        ended = [] if self._keys is None else await asyncio.to_thread(self._keys.ended, self._clock.now() - self.terms.others)
        holds = await asyncio.to_thread(self._holds, notebook)
        for one in ended:
            since, until = instant(one.since), instant(one.until or one.since)
            if any(hold.covers_time(since, until) for hold in holds.standing.values()) or self._keys is None:
                continue
            outcome.keys += 1
            if not outcome.dry:
                detail = {"outcome": "key", "by": "mirror", "reason": "its time is over", "number": one.number, "since": since, "until": until}
                await self._ledger.record_own(EventKind.ERASED, detail).durable()
                await asyncio.to_thread(self._keys.destroy, one.number)

    async def erase(self, *, by: str, reason: str, actor: str = "", sequences: Sequence[int] = ()) -> dict[str, Any]:
        """Erase the personal parts of one pseudonym, or of these records. Raises `InputError` where a hold covers one of them, or there is none."""
        async with self._alone:
            notebook = await asyncio.to_thread(Notebook.read, self.directory)
            found = await asyncio.to_thread(parts_of, self.directory, self._holds(notebook), actor, frozenset(sequences), self._ledger.head.count)
            freed = await self._erase(notebook, found, by, reason, "erased") if found else 0
            return {"records": len(found), "freed": freed}

    async def _erase(self, notebook: Notebook, found: Sequence[int], by: str, reason: str, outcome: str) -> int:
        ranges = list(ranges_of(found))
        for start in range(0, len(ranges), _RANGES):
            some = ranges[start : start + _RANGES]
            detail = {"outcome": outcome, "by": by, "reason": reason, "records": sum(until - since for since, until in some), "sequences": some}
            self._ledger.turn()
            await self._ledger.record_own(EventKind.ERASED, detail).durable()
        return await self._carry_out(notebook)


def _held(record: Mapping[str, Any], holds: Holds, removed: Mapping[str, tuple[str, str]]) -> bool:
    """Whether a hold keeps a record. A repeat goes where its decision went; where that stays or is not known any hold of its time keeps it."""
    if record.get("decision") is None and record["subject"] in removed:
        return False
    return holds.of(record) is not None


def _gone(removal: Removal, windows: Mapping[int, Window]) -> Iterator[int]:
    for number, data in removal.parts:
        window = windows.get(number)
        if window is not None:
            yield from numbers(window.since, window.until, data)


def _forget(decided: dict[str, tuple[str, str]]) -> None:
    """Keep the latest; whatever else is repeated after so long has no artifact in the counts."""
    for key in list(decided)[: max(0, len(decided) - _REMEMBERED)]:
        del decided[key]
