"""A machine of random readers, a lying upstream, restarts, full disks and evictions: no order of them all breaks a promise."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mirror.core.errors import MirrorError
from mirror.core.nouns import Span
from mirror.core.ports import TAIL
from mirror.proxy.flights import Flights
from mirror.proxy.tuning import Lanes, Tuning
from mirror.store.disk import DiskStore
from tests.proxy.flight_fixture import MIB, WallClock, declared, flipped, git_digest, noise, some_of, source_of
from tests.support.liar import HONEST, Liar, Lie
from tests.support.plain_upstream import PlainUpstream

#: By hub: a small file, one in parts with a SHA-256, one in parts with a git digest.
FILES = {"tiny": noise(70_000, seed=31), "wide": noise(2 * MIB + 5, seed=32), "git": noise(MIB + 300_000, seed=33)}
DIGESTS = {name: git_digest(data) if name == "git" else declared(data) for name, data in FILES.items()}
TUNING = Tuning(
    backoff=0.001, checkpoint=0.01, tries=3, window=200_000, hurry=0.01, patience=0.4, abandon_after=0.05, drip=0.0, suspicion=60.0,
    lanes=Lanes(parallel=3, part=256 * 1024, above=512 * 1024, minimum=1000), span=1.0,
)  # fmt: skip
names = st.sampled_from(sorted(FILES))


def lies(data: bytes) -> st.SearchStrategy[Lie]:
    """Every way in which one answer can be wrong."""
    within = st.integers(0, len(data) - 1)
    return st.one_of(
        within.map(lambda at: Lie(cut=at)),
        within.map(lambda at: Lie(hang=at)),
        within.map(lambda at: Lie(data=flipped(data, at))),
        within.map(lambda at: Lie(short=at)),
        st.sampled_from([400, 401, 403, 404, 416, 429, 500, 503]).map(lambda status: Lie(status=status)),
        st.sampled_from([
            Lie(ignore_range=True), Lie(shift=1), Lie(extra=b"more"), Lie(extra=b"more", counted=False), Lie(chunked=True),
            Lie(headers={"Content-Encoding": "gzip"}), Lie(headers={"ETag": '"other"'}), Lie(data=noise(len(data), seed=99)),
        ]),
    )  # fmt: skip


@dataclass
class Reading:
    """One reader: what it asked for, and what came of it."""

    name: str
    span: Span
    body: Any
    task: asyncio.Task[tuple[bytes, BaseException | None]]


@dataclass
class Machine:
    """The world of one run, on a loop of its own."""

    root: Path
    store: DiskStore
    flights: Flights
    liars: dict[str, Liar]
    upstreams: dict[str, PlainUpstream]
    readings: list[Reading] = field(default_factory=list)
    clean: dict[str, bool] = field(default_factory=lambda: dict.fromkeys(FILES, True))
    landed: list[str] = field(default_factory=list)


class FlightsMachine(RuleBasedStateMachine):
    """Rules run the loop for a while each; between them everything stands still."""

    #: Of all runs of this process: how many, how many states they went through, and how many readers they had.
    tried: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.checked: set[tuple[str, int]] = set()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(asyncio.wait_for(work, 20))

    @initialize()
    def begin(self) -> None:
        self.tried["runs"] += 1
        root = Path(tempfile.mkdtemp(prefix="flights-"))
        liars = {name: Liar(data) for name, data in FILES.items()}
        for liar in liars.values():
            self.run(liar.__aenter__())
        upstreams = {name: PlainUpstream(liar.url, 0.15) for name, liar in liars.items()}
        self.now = Machine(root, *self._flights(root, upstreams, None), liars, upstreams)

    def _flights(self, root: Path, upstreams: dict[str, PlainUpstream], quota: int | None) -> tuple[DiskStore, Flights]:
        async def landed(key: str, blob: Any, _: Any) -> None:
            assert blob.digest == declared(FILES[key])
            self.now.landed.append(key)

        async def build() -> tuple[DiskStore, Flights]:
            store = DiskStore(root, quota=quota, threads=2)
            return store, Flights(store, upstreams.__getitem__, WallClock(), on_landed=landed, tuning=TUNING)

        return self.run(build())

    # --- what may happen ------------------------------------------------------------------------------------------

    @rule(name=names, part=st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1)))
    def reader_comes(self, name: str, part: tuple[float, float] | None) -> None:
        size = len(FILES[name])
        start, stop = (0, size) if part is None else sorted((int(part[0] * size), int(part[1] * size)))
        self.now.clean[name] = self.now.clean[name] and part is None

        async def come() -> None:
            with suppress(MirrorError):
                body = await self.now.flights.join(name, name, source_of(FILES[name], declared=DIGESTS[name]))
                task = asyncio.create_task(some_of(body, start, stop))
                self.now.readings.append(Reading(name, Span(start, stop), body, task))
                self.tried["readers"] += 1

        self.run(come())

    @rule(which=st.integers(0, 20))
    def reader_leaves(self, which: int) -> None:
        if not self.now.readings:
            return  # who is still there is a matter of time, which no draw may depend on
        reading = self.now.readings[which % len(self.now.readings)]
        self.now.clean[reading.name] = False  # what nobody waits for may be given up
        self.run(self._end(reading))

    @rule(data=st.data(), name=names, times=st.integers(1, 4))
    def upstream_lies(self, data: st.DataObject, name: str, times: int) -> None:
        self.now.clean[name] = False
        self.now.liars[name].lies.extend([data.draw(lies(FILES[name]))] * times)

    @rule(data=st.data(), name=names)
    def upstream_lies_always(self, data: st.DataObject, name: str) -> None:
        self.now.clean[name] = False
        self.now.liars[name].always = data.draw(lies(FILES[name]))

    @rule(name=names)
    def upstream_is_honest(self, name: str) -> None:
        self.now.liars[name].lies.clear()
        self.now.liars[name].always = HONEST

    @rule(seconds=st.sampled_from([0.0, 0.003, 0.02, 0.08]))
    def time_passes(self, seconds: float) -> None:
        self.run(asyncio.sleep(seconds))
        for reading in [reading for reading in self.now.readings if reading.task.done()]:
            self.run(self._end(reading))

    @rule(room=st.sampled_from([None, None, 2 * MIB, 100_000]))
    def process_restarts(self, room: int | None) -> None:
        self._stop()
        self.now.clean = dict.fromkeys(FILES, False)
        self.now.store, self.now.flights = self._flights(self.now.root, self.now.upstreams, room)

    @rule(name=names)
    def blob_is_evicted(self, name: str) -> None:
        digest = declared(FILES[name])
        if not self.now.flights.in_use(digest):
            self.now.clean[name] = False
            self.run(self.now.store.remove(digest))

    # --- what must hold -------------------------------------------------------------------------------------------

    @invariant()
    def the_store_holds_no_wrong_blob(self) -> None:
        self.tried["states"] += 1
        for path in (self.now.root / "blobs" / "sha256").glob("*/*/*"):
            state = path.name, path.stat().st_ino
            if state not in self.checked:
                assert sha256(path.read_bytes()).hexdigest() == path.name
                self.checked.add(state)

    @invariant()
    def each_byte_crosses_once(self) -> None:
        for name in set(self.now.landed):
            if self.now.clean[name]:
                assert self.now.liars[name].sent == len(FILES[name])

    async def _end(self, reading: Reading) -> None:
        """Let a reader go, and see that it was told no lie."""
        self.now.readings.remove(reading)
        if not reading.task.done():
            reading.task.cancel()
            await asyncio.wait({reading.task})
        await reading.body.close()
        if reading.task.cancelled():
            return
        (got, error), data, span = reading.task.result(), FILES[reading.name], reading.span
        whole = span == Span(0, len(data))
        if error is None:
            # A part of a file in flight completes nobody's file, and says that nobody vouches for it.
            excepted = not whole and not reading.body.verified
            assert len(got) == len(span)
            assert excepted or got == data[span.start : span.stop]
        elif got != data[span.start : span.start + len(got)]:
            assert len(got) < len(span)
            assert not whole or len(got) <= len(data) - TAIL

    def _stop(self) -> None:
        for reading in list(self.now.readings):
            self.run(self._end(reading))
        self.run(self.now.flights.close())
        assert not any(self.now.flights.in_use(declared(data)) for data in FILES.values())
        self.run(self.now.store.close())

    def _reads_to_the_end(self) -> None:
        """With an honest upstream every reader's wait has an end, and the next one gets the file."""
        for name in FILES:
            self.upstream_is_honest(name)
        for reading in list(self.now.readings):
            self.run(asyncio.wait({reading.task}))
            assert reading.task.done()
        for name, data in FILES.items():
            for attempt in range(30):  # the first may still meet the end of what went wrong before, or a disk that takes its time
                self.run(asyncio.sleep(0.02 * max(0, attempt - 2)))
                self.reader_comes(name, None)
                last = self.now.readings[-1] if self.now.readings else None
                if last is not None and last.name == name and self.run(_result(last.task)) == (data, None):
                    break
            else:
                raise AssertionError(f"{name} cannot be had")

    def teardown(self) -> None:
        if hasattr(self, "now"):
            self._reads_to_the_end()
            self._stop()
            for name, liar in self.now.liars.items():
                self.run(self.now.upstreams[name].close())
                self.run(liar.__aexit__())
            until = time.monotonic() + 5
            while (left := held_below(self.now.root)) and time.monotonic() < until:
                time.sleep(0.01)  # a reader's thread lets go of its descriptor when it is done
            assert left == []
            shutil.rmtree(self.now.root)
        self.loop.close()


async def _result(task: asyncio.Task[Any]) -> Any:
    return await task


def held_below(folder: Path) -> list[str]:
    """What this process has open below `folder`."""
    found = []
    for entry in os.scandir("/proc/self/fd"):
        with suppress(OSError):
            found.append(os.readlink(entry.path))
    return [target for target in found if target.startswith(str(folder))]


_QUIET = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
FEW = settings(max_examples=12, stateful_step_count=15, deadline=None, derandomize=True, database=None, suppress_health_check=_QUIET)
MANY = settings(FEW, max_examples=400, stateful_step_count=40, derandomize=False)


class TestFlights(FlightsMachine.TestCase):
    """No order of events breaks a promise (few runs, the same ones each time)."""

    settings = FEW


@pytest.mark.torture
class TestManyFlights(FlightsMachine.TestCase):
    """No order of events breaks a promise (many runs, new ones each time)."""

    settings = MANY

    @pytest.fixture(autouse=True)
    def _counted(self, record_property: Any) -> Iterator[None]:
        before = FlightsMachine.tried.copy()
        yield
        record_property("tried", dict(FlightsMachine.tried - before))
