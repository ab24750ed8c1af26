"""What the ledger costs those who download: the same warm load with it and with one that only counts. `python -m bench.ledger_load`.

    same    8 clients fetch a model of 16 files (4 KiB to 4 MiB) over and over: what they get again is counted
    new     each time from another address, so that every download is an event of its own, and waits until it is on disk;
            48 connections at once, for one that waits leaves the server to others

One server records: rendered, chained, synced to disk, in the tree and in the index. The other has a ledger whose tickets are durable
at once. They take turns, and the one whose turn it is not is stopped (SIGSTOP), so that work which it has put off burdens itself.
A server has one core, the load another. The promise is about `same`.
"""

from __future__ import annotations

import asyncio
import json
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from bench.contest.house import POLICY, house_list
from bench.contest.machine import LOAD, ROOT, SERVERS, end, moment, on_core, processor_time
from tests.support.mirror import clean_environment
from tests.support.standin.hub import StandInHub

#: Connections at once.
ROWS = {"same": 8, "new": 48}
MODEL = "acme/warm"
SIZES = [4 << 10] * 6 + [64 << 10] * 4 + [1 << 20] * 4 + [4 << 20] * 2
PATHS = [f"/{MODEL}/resolve/main/part-{number:02}.safetensors" for number in range(len(SIZES))]
MOST_LOST = 0.05


# --- the server ---------------------------------------------------------------------------------------------------


def serve(kind: str, config: str) -> None:
    """`mirror serve`; of `counting`, events with a decision are counted, and nothing else is done with them."""
    from mirror.audit.ledger import SegmentLedger
    from mirror.audit.tickets import LedgerTicket
    from mirror.cli.main import main as command
    from mirror.core.decision import Sealed

    record, repeat = SegmentLedger.record, SegmentLedger.repeat

    def counted(self, event):
        if event.decision is None:
            return record(self, event)
        ticket = LedgerTicket(self)
        ticket.settle(Sealed(event, 0, "", ""), None)
        return ticket

    def counted_again(self, decision, *, must_be_durable):
        ticket = LedgerTicket(self)
        ticket.settle(Sealed(None, 0, "", ""), None)
        return ticket

    if kind == "counting":
        SegmentLedger.record, SegmentLedger.repeat = counted, counted_again
    assert (SegmentLedger.repeat is repeat) is (kind == "recording")
    sys.argv = ["mirror", "-c", config, "serve"]
    command()


class Server:
    """One of the two."""

    def __init__(self, kind: str, folder: Path, hub: StandInHub) -> None:
        folder.mkdir()
        (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
        (folder / "list.csv").write_text(house_list(), encoding="utf-8")
        (folder / "mirror.yaml").write_text(yaml.safe_dump({
            "data": "data", "policy": {"path": "policy.yaml"}, "listen": {"host": "127.0.0.1", "port": 0},
            "ledger": {"reserve": "1MiB"}, "store": {"min_free": "1MiB"},
            "clients": {"groups": {"engineering": {"subnets": ["127.0.0.0/8"], "country": "GB"}}},
            "lists": {"house": {"loader": "csv", "source": "list.csv", "meaning": "house"}},
            "hubs": {"huggingface": {"upstreams": [hub.url], "origins": [hub.url, hub.cdn_url]}},
        }), encoding="utf-8")  # fmt: skip
        self.ledger = folder / "data" / "ledger"
        words = [sys.executable, "-m", "bench.ledger_load", "serve", kind, str(folder / "mirror.yaml")]
        with on_core(SERVERS), (folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                words, cwd=ROOT, env={**clean_environment(), "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=log, text=True
            )
        line = self.process.stdout.readline()
        if " ready on " not in line:
            raise RuntimeError((folder / "log").read_text(encoding="utf-8")[-2000:])
        self.url = line.split(" ready on ")[1].split()[0]

    def turn(self, row: str, seconds: float, first: int) -> dict:
        """What a load of so many seconds got; of `new`, with addresses from `first` on."""
        self.process.send_signal(signal.SIGCONT)
        spent, head = processor_time(self.process.pid), self.head()
        with on_core(LOAD):
            words = [sys.executable, "-m", "bench.ledger_load", "load", json.dumps([row, self.url, seconds, first])]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=seconds + 120)
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        time.sleep(0.2)  # a group commit
        found = json.loads(done.stdout) | {"events": self.head() - head, "spent": processor_time(self.process.pid) - spent}
        self.process.send_signal(signal.SIGSTOP)
        return found

    def head(self) -> int:
        """How many records there are."""
        return int((self.ledger / "head").read_bytes()[:16])

    def close(self) -> None:
        """Let it end."""
        self.process.send_signal(signal.SIGCONT)
        end(self.process)


# --- the load -----------------------------------------------------------------------------------------------------


async def _client(url: str, until: float, number: int, addresses: list[int] | None, got: list[int]) -> None:
    """A model, over and over; from a new address each time, or from the same."""
    parts = urlsplit(url)
    while time.monotonic() < until:
        if addresses is not None:
            addresses[0] += 1
            number = addresses[0]
        address = f"127.{1 + number // 62500}.{1 + number // 250 % 250}.{1 + number % 250}"
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, local_addr=(address, 0), limit=1 << 20)
        for path, size in zip(PATHS, SIZES, strict=True):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUser-Agent: hf_hub/1.0\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(head.decode())
            left = size
            while left:
                data = await reader.read(min(left, 1 << 20))
                if not data:
                    raise RuntimeError("ended short")
                left -= len(data)
            got[0] += 1
            got[1] += size
        writer.close()


async def load(row: str, url: str, seconds: float, first: int) -> None:
    """Print what was downloaded."""
    got, begun, addresses = [0, 0], time.monotonic(), [max(first, 100)]
    new = addresses if row == "new" else None
    await asyncio.gather(*(_client(url, begun + seconds, number, new, got) for number in range(ROWS[row])))
    took = time.monotonic() - begun
    print(json.dumps({"files": got[0] / took, "bytes": got[1] / took, "last": addresses[0]}))


# --- both ---------------------------------------------------------------------------------------------------------


async def main(pairs: int, seconds: float) -> bool:
    """Print the pairs and their ratios; whether the loss is small enough."""
    hub = StandInHub(seed=7)
    hub.recording = hub.xet = False
    luck = random.Random(7)
    weights = {path.rpartition("/")[2]: luck.randbytes(size) for path, size in zip(PATHS, SIZES, strict=True)}
    hub.add_repo("model", MODEL, {"config.json": b"{}", "README.md": b"---\nlicense: apache-2.0\n---\n"}, weights)
    await hub.start()
    print(f"# python -m bench.ledger_load: {moment()}")
    print(f"# {len(SIZES)} files of {sum(SIZES) / len(SIZES) / 1024:,.0f} KiB on average, {pairs} pairs of {seconds:g} s")
    with tempfile.TemporaryDirectory() as folder:
        servers = {kind: Server(kind, Path(folder) / kind, hub) for kind in ("recording", "counting")}
        try:
            return await asyncio.to_thread(measure, servers, pairs, seconds)
        finally:
            for one in servers.values():
                one.close()
            await hub.stop()


def measure(servers: dict[str, Server], pairs: int, seconds: float) -> bool:
    """Every row."""
    last = 0
    for one in servers.values():
        for server in servers.values():
            server.process.send_signal(signal.SIGSTOP)
        one.turn("same", 1, last)  # cold
    lost = {}
    for row in ROWS:
        print(f"{row}:")
        ratios, costs, events = [], [], []
        for pair in range(pairs):
            found = {}
            for kind in sorted(servers, reverse=bool(pair % 2)):  # who begins changes
                found[kind] = servers[kind].turn(row, seconds, last)
                last = found[kind]["last"]
            own, other = found["recording"], found["counting"]
            ratios.append(own["bytes"] / other["bytes"])
            costs.append(own["spent"] / own["bytes"] / (other["spent"] / other["bytes"]))
            events.append(own["events"] / seconds)
            print(f"  with {_shown(own, seconds)}, {events[-1]:4,.0f} events/s; without {_shown(other, seconds)}; ratio {ratios[-1]:.3f}", flush=True)
        lost[row] = 1 - statistics.median(ratios)
        print(f"  {statistics.median(events):,.0f} events/s; ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} - {max(ratios):.3f}): {lost[row]:.1%} lost; processor time a byte x {statistics.median(costs):.2f} ({min(costs):.2f} - {max(costs):.2f})")
    held = lost["same"] <= MOST_LOST
    print(f"wanted of `same`: at most {MOST_LOST:.0%} lost: {'met' if held else 'NOT met'}")
    return held


def _shown(turn: dict, seconds: float) -> str:
    return f"{turn['bytes'] / 1e6:5,.0f} MB/s ({turn['files']:5,.0f} downloads/s, {turn['spent'] / seconds:4.0%} of a core)"


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:4])
    elif sys.argv[1:2] == ["load"]:
        asyncio.run(load(*json.loads(sys.argv[2])))
    else:
        sys.exit(not asyncio.run(main(2, 2) if "--quick" in sys.argv else main(8, 3)))
