"""What is under way when a rule comes into force that refuses it: ended short of its length, recorded, not resumed (DESIGN 6)."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.standin.defaults import ALICE
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

MIB = 1024 * 1024
DATA = random.Random(7).randbytes(12 * MIB)
FILE = "/acme/long/resolve/main/model.safetensors"
DENY = 'version: 1\nrules: [{id: recalled, when: {publisher: [acme]}, effect: deny, legal: true, reason: "was withdrawn"}]\n'
REACHING = 'version: 1\nrules: [{id: pickles, when: {file: ["*.pkl"]}, effect: deny}]\n'


@dataclass
class Reader:
    """A client that has the head of its answer, and takes of the body only what it asks for."""

    head: bytes
    stream: asyncio.StreamReader
    port: int
    had: int = 0

    @property
    def served(self) -> bool:
        """Whether the server's end of the connection is still open for sending (proc(5), state 01)."""
        rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        return any(row[2].endswith(f":{self.port:04X}") and row[3] == "01" for row in rows)

    @property
    def length(self) -> int:
        """What was announced."""
        return int(self.head.lower().split(b"content-length:")[1].split(b"\r\n")[0])

    async def some(self, count: int) -> None:
        async with asyncio.timeout(20):
            self.had += len(await self.stream.readexactly(count))

    async def rest(self) -> bytes:
        """All that is still to come, to the end of the connection. Raises `ConnectionResetError` for a reset."""
        async with asyncio.timeout(20):
            found = await self.stream.read()
        self.had += len(found)
        return found


@asynccontextmanager
async def reading(mirror: Mirror, target: str, **headers: str) -> AsyncIterator[Reader]:
    host = mirror.url.removeprefix("http://")
    peer = socket.create_connection(host.split(":"))  # type: ignore[arg-type]
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    stream, writer = await asyncio.open_connection(sock=peer, limit=32 * 1024)
    lines = [f"GET {target} HTTP/1.1", f"Host: {host}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    try:
        async with asyncio.timeout(20):
            yield Reader(await stream.readuntil(b"\r\n\r\n"), stream, peer.getsockname()[1])
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def ended(mirror: Mirror, count: int) -> list[dict]:
    """The `ended` events, once there are `count`."""
    async with asyncio.timeout(5):
        while len(rows := mirror.events("ended")) < count:
            await asyncio.sleep(0.05)
    return rows


@pytest.fixture
async def long(standin: StandInHub) -> StandInHub:
    standin.add_repo("model", "acme/long", {"config.json": b"{}"}, {"model.safetensors": DATA})
    standin.add_repo("model", "globex/long", {}, {"model.safetensors": DATA[::-1]})
    return standin


async def test_files_from_store_and_flight_end_for_readers_that_stand_still(long: StandInHub, mirror: Mirror) -> None:
    """Whole and part, from the store and in flight, also before readers that take nothing: FIN within five seconds, short; others go on."""
    assert (await mirror.get(FILE)).body == DATA
    long.add_repo("model", "acme/cold", {}, {"model.safetensors": DATA[1:]})
    long.faults.add("throttle", "*", origin="cdn", rate=10 * MIB)
    async with (
        reading(mirror, FILE) as whole, reading(mirror, FILE, Range=f"bytes={MIB}-") as part,
        reading(mirror, "/acme/cold/resolve/main/model.safetensors") as cold,
        reading(mirror, "/globex/long/resolve/main/model.safetensors") as other,
    ):  # fmt: skip
        for reader in (whole, part, cold, other):
            await reader.some(1000)
        allowed = {row["decision"]["id"] for row in mirror.events("allowed")}
        await mirror.new_rules(DENY)
        rows = await ended(mirror, 3)  # while none of them reads
        for reader in (whole, part, cold):
            await reader.rest()
            assert reader.had < reader.length
        assert whole.head.startswith(b"HTTP/1.1 200")
        assert part.head.startswith(b"HTTP/1.1 206")
        await other.some(len(DATA) - 1000)
    refusals = {row["decision"]["id"]: row["seq"] for row in mirror.events("refused")}
    for row in rows:
        detail = row["detail"]
        assert refusals[detail["decision"]] < row["seq"]
        assert detail["permitted"] in allowed
        assert "#model.safetensors" in detail["artifact"]
        assert detail["request"] == row["subject"]
    # What the record says had left is what the clients have: none of it was lost on the way.
    assert sorted(row["detail"]["sent"] for row in rows)[-1] >= max(whole.had, cold.had) > 1000
    assert {row["detail"]["sent"] for row in rows} >= {whole.had}
    assert {row["detail"]["of"] for row in rows} == {len(DATA), len(DATA) - 1}
    again = await mirror.get(FILE, Range=f"bytes={whole.had}-")
    assert (again.status, b"recalled" in again.body) == (451, True)


async def test_what_passes_through_ends_too(long: StandInHub, tmp_path: Path) -> None:
    """A full disk's pass-through, whose bytes lie in our own buffers: FIN, short of the length, although its reader takes nothing."""
    async with mirror_of(long, tmp_path / "m", quota=1000) as mirror, reading(mirror, FILE) as reader:
        await reader.some(1000)
        await asyncio.sleep(1.0)  # until nothing more can leave
        await mirror.new_rules(DENY)
        await ended(mirror, 1)
        async with asyncio.timeout(5):
            while reader.served:
                await asyncio.sleep(0.05)
        await reader.rest()
        assert 1000 < reader.had < reader.length


async def test_streams_and_packs_end_without_their_last_chunk(standin: StandInHub, tmp_path: Path) -> None:
    """An event stream and a git answer end where they are, and the terminating chunk is missing; so does a pack that a new rule reaches into."""
    standin.faults.add("throttle", "*/info/refs", rate=40)
    await standin.log.say("one")
    refs = "/info/refs?service=git-upload-pack"
    async with mirror_of(standin, tmp_path / "m", git="permit") as mirror:
        async with (
            reading(mirror, "/api/spaces/acme/demo/logs/run", Authorization=f"Bearer {ALICE}") as events,
            reading(mirror, f"/acme/tiny-bert.git{refs}") as pack,
        ):
            await pack.some(20)
            await mirror.new_rules(REACHING)
            (row,) = await ended(mirror, 1)
            assert row["detail"]["rule"] == "pickles"
            assert not (await pack.rest()).endswith(b"0\r\n\r\n")
            assert standin.log.followers == 1
            await mirror.new_rules(DENY)
            await ended(mirror, 2)
            assert not (await events.rest()).endswith(b"0\r\n\r\n")
        assert (await mirror.get("/api/spaces/acme/demo/logs/run", token=ALICE)).status == 451


async def test_a_date_that_comes_ends_too(long: StandInHub, tmp_path: Path) -> None:
    """A rule whose `from` comes while a file is under way counts from that moment, without any change of the rules."""
    soon = "version: 1\nrules: [{id: later, when: {publisher: [acme]}, effect: deny, from: 2099-01-01}]\n"
    async with mirror_of(long, tmp_path / "m", soon) as mirror:
        long.faults.add("throttle", "*", origin="cdn", rate=10 * MIB)
        async with reading(mirror, FILE) as reader:
            await reader.some(1000)
            mirror.pass_time(days=366 * 80)
            await ended(mirror, 1)
            await reader.rest()
            assert reader.had < reader.length


async def test_facts_that_only_new_rules_read_are_sought(long: StandInHub, mirror: Mirror) -> None:
    """A rule on a fact that nobody had asked for judges by the hub's answer, not by its absence."""
    long.faults.add("throttle", "*", origin="cdn", rate=16 * MIB)
    async with reading(mirror, FILE) as reader:
        await reader.some(1000)
        await mirror.new_rules("version: 1\nrules: [{id: scan, when: {scan: [unsafe]}, effect: deny, on_unknown: deny}]\n")
        assert (await mirror.get(FILE, method="HEAD")).status == 200
        await reader.some(len(DATA) - 1000)
    assert not mirror.events("ended")
