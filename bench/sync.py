"""`mirror sync` over an upstream of limited bandwidth: many small files, few large ones. `python -m bench.sync`.

    small   2,000 files of 20 KB at 8 Mbit/s
    large   4 files of 96 MiB at 100 Mbit/s

Upstream is a stand-in behind a relay that lets so many bytes a second through, in all; four connections of a plain client that
fetches the same files, without any mirror, are the comparison, in turns with the sync into an empty mirror. Times are of the
whole command, start and plan included. Results go to bench/results/sync.txt; `--rows small` measures one, `--quick` takes
small amounts and writes nothing.
"""

from __future__ import annotations

import argparse
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

import aiohttp

from bench.contest.machine import ROOT
from bench.contest.origin import Hub
from tests.support.mirror import clean_environment, running_mirror

RESULTS = ROOT / "bench" / "results" / "sync.txt"
#: (files, bytes of each, bytes a second, whether they are large files of the hub)
ROWS = {"small": (2_000, 20_000, 1_000_000, False), "large": (4, 96 << 20, 12_500_000, True)}
QUICK = {"small": (200, 20_000, 1_250_000, False), "large": (2, 8 << 20, 12_500_000, True)}
WANTED = 0.9
ROUNDS = 3
_STEP = 16 * 1024


# --- upstream, as a process of its own --------------------------------------------------------------------------------


class Link:
    """So many bytes a second, over all connections. Nobody saves up more than a twentieth of a second."""

    def __init__(self, rate):
        self._rate, self._due = rate, 0.0

    async def take(self, count):
        """Wait until `count` bytes may pass."""
        now = asyncio.get_running_loop().time()
        self._due = max(self._due, now - 0.05) + count / self._rate
        if self._due > now:
            await asyncio.sleep(self._due - now)


async def relay(port, link):
    """The URL of a port whose answers pass through `link`."""

    async def accepted(reader, writer):
        there, onward = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_carry(reader, onward, None), _carry(there, writer, link))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0, backlog=512)
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", server


async def _carry(reader, writer, link):
    try:
        while data := await reader.read(_STEP):
            if link is not None:
                await link.take(len(data))
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    except asyncio.CancelledError:
        return
    finally:
        writer.close()


async def upstream(count, size, rate, large):
    """Serve until SIGTERM; prints the two URLs."""
    hub, link, maker = Hub(), Link(rate), random.Random(7)
    hub.recording, hub.xet = False, False
    files = {f"part-{number:05}.{'safetensors' if large else 'txt'}": maker.randbytes(size) for number in range(count)}
    hub.add_repo("dataset", "acme/wanted", {} if large else files, files if large else {}, tags=["license:mit"])
    await hub.start()
    near = hub.origins["cdn"].url
    hub.front, _front = await relay(hub.origins["hub"].port, link)
    hub.back, _back = await relay(int(near.rpartition(":")[2]), link)
    print(json.dumps({"hub": hub.front, "cdn": hub.back}), flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


# --- measuring --------------------------------------------------------------------------------------------------------


async def plain(url, names):
    """Seconds that four connections take for these files."""
    left = list(names)

    async def one(session):
        while left:
            async with session.get(f"{url}/datasets/acme/wanted/resolve/main/{left.pop()}") as answer:
                answer.raise_for_status()
                async for _ in answer.content.iter_any():
                    pass

    begun = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(one(session) for _ in range(4)))
    return time.perf_counter() - begun


def synced(folder, urls, count):
    """Seconds of the command, into an empty mirror."""
    stand = type("Urls", (), {"url": urls["hub"], "cdn_url": urls["cdn"]})
    with running_mirror(folder, stand, None, "version: 1\nrules: []\n") as mirror:
        line = [sys.executable, "-m", "mirror.cli.main", "-c", str(folder / "mirror.yaml"), "sync", "--dataset", "acme/wanted", "--url", mirror.url, "--json"]
        begun = time.perf_counter()
        done = subprocess.run(line, env={**clean_environment(), "PYTHONPATH": str(ROOT)}, cwd=folder, capture_output=True, text=True, check=False, timeout=1800)
        took = time.perf_counter() - begun
    summary = json.loads(done.stdout.splitlines()[-1])["summary"]["counts"]
    if done.returncode or summary["fetched"]["count"] != count:
        raise SystemExit(f"the sync did not get everything: {done.stdout[-500:]}{done.stderr[-500:]}")
    return took


def measure(name, amounts, rounds):
    """Lines of the result."""
    count, size, rate, large = amounts
    process = subprocess.Popen([sys.executable, "-m", "bench.sync", "--upstream", json.dumps(amounts)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        urls = json.loads(process.stdout.readline())
        names = [f"part-{number:05}.{'safetensors' if large else 'txt'}" for number in range(count)]
        ours, theirs = [], []
        for turn in range(rounds):
            with tempfile.TemporaryDirectory(prefix="bench-sync-") as folder:
                ours.append(synced(Path(folder) / "m", urls, count))
            theirs.append(asyncio.run(plain(urls["hub"], names)))
            print(f"  {name} round {turn + 1}: sync {ours[-1]:.1f} s, plain {theirs[-1]:.1f} s", flush=True)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)
    total = count * size
    of_link = [total / rate / took for took in ours]
    of_plain = [there / here for here, there in zip(ours, theirs, strict=True)]
    good = "met" if statistics.median(of_plain) >= WANTED else "NOT met"
    return [
        f"== {name}: {count:,} files of {size:,} bytes, {rate * 8 / 1e6:.0f} Mbit/s upstream, {rounds} rounds in turns",
        f"  sync: {_spread(ours)} s; plain client: {_spread(theirs)} s; the link needs {total / rate:.1f} s for the bytes alone",
        f"  of the link's bandwidth: {_spread(of_link)}; of the plain client's rate: {_spread(of_plain)}",
        f"  wanted: at least {WANTED} of what the link gives the plain client: {good} ({statistics.median(of_plain):.3f})",
    ]


def _spread(values):
    return f"{statistics.median(values):.3g} ({min(values):.3g} - {max(values):.3g})"


def main(arguments):
    """Measure, print, and write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("--upstream", help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.upstream:
        asyncio.run(upstream(*json.loads(chosen.upstream)))
        return 0
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
    lines = ["# python -m bench.sync", f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit {commit}, Python {sys.version.split()[0]}"]
    for name in chosen.rows:
        lines += ["", *measure(name, (QUICK if chosen.quick else ROWS)[name], chosen.rounds or (1 if chosen.quick else ROUNDS))]
    print("\n".join(lines))
    if not chosen.quick and list(chosen.rows) == list(ROWS):
        RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 1 if any("NOT met" in line for line in lines) and not chosen.quick else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
