"""Making checkpoints: who signs, when, and whether the ledger on disk is still the one that was signed for."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from mirror.audit.book import FILE, Book
from mirror.audit.custody import MADE, REPLACED, ROTATED, judge
from mirror.audit.ledger import SELF
from mirror.audit.notes import NAME, Checkpoint, Verifier, checkpoint_text, signed
from mirror.audit.outlets import ExportFailed, Outlet
from mirror.audit.tiles import nodes, rebuilt
from mirror.audit.tree import root
from mirror.core.canonical import instant
from mirror.core.decision import Event, EventKind
from mirror.core.errors import InputError, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping
    from datetime import datetime
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from mirror.audit.ledger import SegmentLedger
    from mirror.audit.outlets import Exporter
    from mirror.audit.tree import Node
    from mirror.core.ports import Clock

_LOG = structlog.get_logger("mirror.audit")
#: Seconds that the last checkpoint may take to reach each place before a stop goes on without it.
_LAST: Final = 3.0
_HOW: Final = "`mirror ledger recover` records the gap and lets it go on"


class Keys(Protocol):
    """The signing key on disk (`trust.machine_key.MachineKey`). Every method raises `InputError` or `OSError`."""

    path: Path

    def current(self) -> Ed25519PrivateKey | None:
        """The key in use, or None."""

    def proposed(self) -> Ed25519PrivateKey | None:
        """The key that was to come next, or None."""

    def make(self) -> Ed25519PrivateKey:
        """A new key where there is none."""

    def propose(self, key: Ed25519PrivateKey | None = None) -> Ed25519PrivateKey:
        """Put a key, or a new one, beside the one in use."""

    def adopt(self) -> None:
        """The proposed key takes its place."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A checkpoint that is known and not of this ledger's history."""

    source: str
    checkpoint: Checkpoint
    why: str


class Checkpointer:
    """The checkpoints of a ledger that this process owns.

    `origin` is the configured name of the log, or None; `host` goes into the name that is made up otherwise. Names are given
    once: what the first key's record says holds for the ledger's life.
    """

    def __init__(
        self, ledger: SegmentLedger, keys: Keys, clock: Clock, exporters: Iterable[Exporter] = (), *, origin: str | None = None,
        host: str = "",
    ) -> None:  # fmt: skip
        self._ledger, self._keys, self._clock = ledger, keys, clock
        self.outlets = [Outlet(one, clock) for one in exporters]
        self._wanted_origin, self._host = origin, host
        self.book = Book(ledger.directory)
        self._key: Ed25519PrivateKey | None = None
        self._alone = asyncio.Lock()
        self._why = ""
        self._at: datetime | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Awaited before each checkpoint: what must have been said of the records that it is of.
        self.before: Callable[[], Awaitable[None]] | None = None

    # --- before the first record ----------------------------------------------------------------------------------

    def admit(self) -> None:
        """See that this is the ledger that was signed for, here and where checkpoints were sent. Changes no record.

        Raises `InputError` with everything that speaks against going on.
        """
        problems = [*self._book_problems(), *(Problem(one.source, "", f"the checkpoint {one.why}; {_HOW}") for one in self.conflicts())]
        if not problems:
            problems += self._key_problems()
        if problems:
            raise InputError(problems)

    def _book_problems(self) -> list[Problem]:
        wrong = self.book.open(self._ledger.tree.size)
        path = self._ledger.directory / FILE
        problems = [Problem(str(path), "", f"{wrong}; {_HOW}")] if wrong else []
        origin = self.book.custody.origin
        if origin and self._wanted_origin not in (None, origin):
            problems.append(Problem("ledger.origin", "", f"this ledger is {origin}, and keeps that name for life"))
        return problems

    def conflicts(self) -> list[Conflict]:
        """Every checkpoint known here or outside, the newest of each place, that is not of this ledger's history."""
        size, root_now = self._ledger.tree.root()
        node = nodes(self._ledger.directory, size, root_now)
        known = list(self._known())
        if any(one.size <= size and self._wrong(one, size, node) for _, one in known):
            node = rebuilt(self._ledger.directory, size)  # the tree's files may be what is damaged: the segments are the truth
            if any(root(nodes(self._ledger.directory, size, root_now), one.size) != root(node, one.size) for _, one in known if one.size <= size):
                _LOG.warning("tree_made_again", reason="a file of the tree was damaged")
                self._ledger.tree.remake()
        judged = ((source, one, self._wrong(one, size, node)) for source, one in known)
        return [Conflict(source, one, wrong) for source, one, wrong in judged if wrong]

    def _wrong(self, one: Checkpoint, size: int, node: Node) -> str:
        """What speaks against a checkpoint. Of our own newest it is known which gaps had been owned up to when it was signed."""
        pages = self.book.pages
        return judge(one, self.book.custody, size, node, pages.after(-1) if one is pages.newest else None).wrong

    def _known(self) -> Iterable[tuple[str, Checkpoint]]:
        if (newest := self.book.pages.newest) is not None:
            yield str(self._ledger.directory / FILE), newest
        for outlet in self.outlets:
            try:
                one = outlet.exporter.newest()
            except (ExportFailed, OSError) as error:
                outlet.unreadable(str(error))
                _LOG.warning("checkpoint_not_compared", to=outlet.exporter.name, why=str(error))
                continue
            if one is not None:
                yield outlet.exporter.name, one

    def _key_problems(self) -> list[Problem]:
        current = self.book.custody.current
        key = self._keys.current()
        if current is None:
            self._key = key if key is not None else self._keys.make()
            return []
        if key is not None and Verifier.of(current.name, key).text == current.text:
            self._key = key
            return []
        following = self._keys.proposed()
        if following is not None and Verifier.of(current.name, following).text == current.text:
            self._keys.adopt()  # a rotation was recorded, and cut short before the new key had its place
            self._key = following
            return []
        said = "is another key than the ledger's" if key is not None else "is missing: it is the ledger's key"
        lost = "put that key back, or, where it is lost, name another by `mirror ledger recover --new-key`"
        return [Problem(str(self._keys.path), "", f"{said} {current.text}; {lost}")]

    # --- while it runs --------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Name the key on the record if none is named, make a checkpoint, and have it taken out from now on. Raises `LedgerDown`."""
        if self.book.custody.current is None and self._key is not None:
            await self._name(self._key, MADE)
        self._tasks = {asyncio.create_task(outlet.run(), name=f"checkpoints to {outlet.exporter.name}") for outlet in self.outlets}
        await self._attempt()

    async def run(self, every: float) -> None:
        """A checkpoint each `every` seconds in which something was recorded, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self._attempt()

    async def _attempt(self) -> None:
        """A disk that is full now has room at another time; answers do not wait for checkpoints."""
        try:
            await self.make()
        except OSError as error:
            self._why = error.strerror or str(error)
            _LOG.warning("checkpoint_not_made", why=self._why)

    async def make(self) -> Checkpoint:
        """A checkpoint of everything that is durable: the newest where nothing was added. Raises `OSError`."""
        async with self._alone:
            if self.before is not None:
                await self.before()
            one = await asyncio.to_thread(self._made)
            self._why, self._at = "", self._clock.now()
            for outlet in self.outlets:
                outlet.offer(one, self._at)
            return one

    def _made(self) -> Checkpoint:
        newest = self.book.pages.newest
        size, found = self._ledger.tree.root()
        if newest is not None and newest.size == size and newest.root == found:
            return newest
        one = self._sign(size, found)
        self.book.put(one, instant(self._clock.now()))
        return one

    def _sign(self, size: int, found: bytes) -> Checkpoint:
        verifier, key = self.book.custody.current, self._key
        if verifier is None or key is None:
            raise OSError(2, "no key has been named yet")
        return Checkpoint.read(signed(checkpoint_text(verifier.name, size, found), (verifier, key)).data)

    async def rotate(self, key: Ed25519PrivateKey | None = None) -> Verifier:
        """From now on another key signs, `key` or a new one; the old one says so on the record, and is deleted.

        Raises `InputError`, `LedgerDown`, `OSError`.
        """
        async with self._alone:
            made = await asyncio.to_thread(self._keys.propose, key)
            verifier = await self._name(made, ROTATED)
            await asyncio.to_thread(self._keys.adopt)
        await self.make()
        return verifier

    async def _name(self, key: Ed25519PrivateKey, how: str) -> Verifier:
        """Put a key on the record. `MADE` needs nobody, `ROTATED` the key in use, `REPLACED` a person's word."""
        before, old = self.book.custody.current, self._key
        verifier = Verifier.of(before.name if before is not None else self._origin(key), key)
        size, found = self._ledger.tree.root()
        signers = [(before, old)] if how == ROTATED and before is not None and old is not None else []
        statement = signed(checkpoint_text(verifier.name, size, found, verifier.text), *signers, (verifier, key))
        detail = {"key": verifier.text, "outcome": how, "statement": statement.data.decode()}
        await self._record(EventKind.KEY, detail)
        self._key = key
        return verifier

    async def tell(self, kind: EventKind, subject: str, detail: Mapping[str, object]) -> int:
        """Record what was done with a ledger, durable on return; gives the record's sequence. Raises `LedgerDown`."""
        event = Event(kind, self._clock.now(), SELF, subject=subject, detail=tuple(sorted(detail.items())))
        return (await self._ledger.record(event).durable()).sequence

    async def _record(self, kind: EventKind, detail: Mapping[str, object]) -> None:
        sealed = await self._ledger.record_own(kind, detail).durable()
        await asyncio.to_thread(self.book.open, sealed.sequence + 1)

    def _origin(self, key: Ed25519PrivateKey) -> str:
        name = self._wanted_origin or f"{self._host or 'entrepot'}/ledger/{Verifier.of('ledger', key).id.hex()}"
        return name if NAME.match(name) else f"entrepot/ledger/{Verifier.of('ledger', key).id.hex()}"

    # --- the end --------------------------------------------------------------------------------------------------

    async def last(self) -> None:
        """The checkpoint of a stop: of everything, while nobody else can write."""
        await self._attempt()

    async def close(self) -> None:
        """Let the last checkpoint out, for a moment. Safe to call twice."""
        tasks, self._tasks = self._tasks, set()
        for outlet in self.outlets:
            outlet.finish()
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_LAST)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def deliver(self, patience: float) -> None:
        """One attempt for each place that lacks the newest."""
        await asyncio.gather(*(outlet.deliver(patience) for outlet in self.outlets))

    def condition(self) -> dict[str, Any]:
        """For health: how many records are signed for, since when, and how each place stands."""
        newest, verifier = self.book.pages.newest, self.book.custody.current
        return {
            "state": "failing" if self._why else "ok", "why": self._why,
            "records": newest.size if newest is not None else 0, "at": instant(self._at) if self._at is not None else None,
            "key": verifier.text if verifier is not None else None, "to": [outlet.standing.record() for outlet in self.outlets],
        }  # fmt: skip

    @property
    def age(self) -> float:
        """Seconds since the newest was made, or was seen to be still the newest; 0 before the first."""
        return (self._clock.now() - self._at).total_seconds() if self._at is not None else 0.0

    # --- after a restore ------------------------------------------------------------------------------------------

    async def recover(self, *, new_key: bool) -> list[dict[str, object]]:
        """Open the ledger, and own up on the record to what `admit` refused to go on with; gives what was recorded.

        `new_key` puts another in the place of a key that is lost. Raises `InputError`, `LedgerDown`, `OSError`.
        """
        found: list[Conflict] = []
        aside: list[str] = []

        def look() -> None:
            problems = self._book_problems()
            if any(problem.source == "ledger.origin" for problem in problems):
                raise InputError(problems)
            if problems:
                aside.extend(self.book.set_aside())
                self.book.open(self._ledger.tree.size)
            found.extend({one.checkpoint.digest: one for one in self.conflicts()}.values())

        await self._ledger.open(look)
        told = [await self._own_up(one) for one in found]
        if aside:
            await self._record(EventKind.RECOVERED, {"set_aside": aside})
            told.append({"set_aside": aside})
        problems = await asyncio.to_thread(self._key_problems)
        if problems and not new_key:
            raise InputError(problems)
        if problems:
            told.append({"key": (await self._replace()).text})
        elif self.book.custody.current is None and self._key is not None:
            await self._name(self._key, MADE)
        await self.make()
        return told

    async def _replace(self) -> Verifier:
        """By the key that somebody has put in the lost one's place, else by a new one."""
        there = await asyncio.to_thread(self._keys.current)
        if there is not None:
            return await self._name(there, REPLACED)
        verifier = await self._name(await asyncio.to_thread(self._keys.propose), REPLACED)
        await asyncio.to_thread(self._keys.adopt)
        return verifier

    async def _own_up(self, one: Conflict) -> dict[str, object]:
        size, _ = self._ledger.tree.root()
        gap: dict[str, object] = {
            "since": await asyncio.to_thread(self._agreed, size), "published": one.checkpoint.size, "records": size,
            "digest": one.checkpoint.digest, "note": one.checkpoint.note.data.decode(), "source": one.source,
        }  # fmt: skip
        await self._record(EventKind.RECOVERED, {"gap": gap})
        return gap

    def _agreed(self, size: int) -> int:
        """The records of the largest checkpoint of our own that is of this history."""
        node = nodes(self._ledger.directory, size, self._ledger.tree.root_at(size))
        sizes = (one.size for one, _ in self.book.pages.checkpoints if one.size <= size and root(node, one.size) == one.root)
        return max(sizes, default=0)
