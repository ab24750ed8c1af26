"""Many clients at once, and many entries: memory, bytes from upstream, and the time to start. `bench.capacity` is the command."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import threading
import time

from bench.contest import content
from bench.contest.entries import fill, held
from bench.contest.load import pull, pulled_rate, started
from bench.contest.machine import SERVERS, end, on_core, processor_time
from bench.contest.running import OWN, ours, prepared
from bench.contest.table import Failed, Result, number, spread
from bench.contest.warm import Asked, reply
from tests.support.mirror import clean_environment

MEBI = 1 << 20
#: What memory may grow by, over idle.
MOST = 150 * MEBI


class Peak:
    """The most memory that a server takes while this is open, sampled four times a second."""

    def __init__(self, server):
        self._server, self._stop = server, threading.Event()
        self.most = 0
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self):
        self._watching.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._watching.join()

    def _watch(self):
        while not self._stop.wait(0.25):
            self.most = max(self.most, self._server.memory())


def met(good):
    """The words for a target."""
    return "met" if good else "NOT met"


def crowd(field, run):
    """Everybody wants one cold file at once, over two workers."""
    clients, bulk = field.amounts.clients, content.big(field.amounts)
    result = Result(f"{clients} clients, two workers, one cold file of {bulk.size >> 20:,} MiB at 125 MB/s a connection upstream", "")
    mirror = field.mirror("crowd", far=True, whole_machine=True, listen={"workers": 2})
    warmed_up(mirror)
    origin = field.origin(far=True)
    before, idle = origin.sent(), mirror.memory()
    with Peak(mirror) as peak:
        found = pull("crowd", url=mirror.base + content.BIG_PATH, connections=clients, hashed=4)
    crossed, grown = origin.sent() - before, peak.most - idle
    field.drop("crowd")
    good = found["whole"] == clients and found["sha256"] == [bulk.sha256]
    result.lines += [
        f"{found['whole']} clients have the whole file, in {found['seconds']:.1f} s: {found['whole'] * bulk.size / found['seconds'] / 1e6:,.0f} MB/s together",
        f"upstream sent {crossed:,} bytes, the file has {bulk.size:,}",
        f"memory of all processes: {idle / MEBI:.0f} MiB idle, at most {grown / MEBI:+.0f} MiB",
    ]
    result.targets += [
        f"  wanted: every client has the right bytes: {met(good)}",
        f"  wanted: each byte from upstream once: {met(crossed == bulk.size)} ({crossed / bulk.size:.4f})",
        f"  wanted: memory grows by less than 150 MiB: {met(grown < MOST)} ({grown / MEBI:.0f} MiB)",
    ]
    return [result]


def warmed_up(mirror):
    """Whatever a process takes once, it has taken afterwards: small files over connections of their own, so that all workers are asked."""
    for _ in range(50):
        reply(Asked(mirror.name, mirror.base + content.CONFIG_PATH))


def slow_readers(field, run):
    """Many clients that read hardly anything, and one that reads quickly."""
    count, size = field.amounts.slow, field.amounts.big
    result = Result(f"{count:,} slow readers of a warm file of {size >> 20:,} MiB, and a fast one", "")
    for name, path in (("nginx static", "/model.safetensors"), ("this mirror", content.BIG_PATH)):
        server = field.server(name)
        if server is not None:
            _beside_slow(result, name, server, server.base + path, count, run)
    return [result]


def _beside_slow(result, name, server, url, count, run):
    def fast():
        return [pulled_rate(url, run.seconds, 1)["bytes"] / 1e6 for _ in range(run.few)]

    pull("fetch", url=url)
    alone, idle = fast(), server.memory()
    with slow(url, count) as being_served, Peak(server) as peak:
        beside = fast()
    alone += fast()  # before and after: the machine may have changed its pace
    grown, share = peak.most - idle, statistics.median(beside) / statistics.median(alone)
    result.lines.append(
        f"{name}: {being_served:,} being served; memory {idle / MEBI:.0f} MiB before, at most {grown / MEBI:+.0f} MiB; "
        f"the fast one {spread(beside, 'MB/s')}, alone {spread(alone, 'MB/s')}: {share:.2f}"
    )
    if name == "this mirror":
        result.targets += [
            f"  wanted: all slow readers are served: {met(being_served == count)} ({being_served:,})",
            f"  wanted: memory grows by less than 150 MiB: {met(grown < MOST)} ({grown / MEBI:.0f} MiB)",
            f"  wanted: the fast one is not starved (at least half as fast as alone): {met(share >= 0.5)} ({share:.2f})",
        ]


@contextlib.contextmanager
def slow(url, count):
    """`count` readers that take hardly anything; gives how many of them are being served."""
    process, said = started("slow", url=url, connections=count)
    try:
        yield said.get("ready", 0)
    finally:
        process.stdin.close()
        process.wait(30)
        process.stdout.close()


def start(field, run):
    """From the command to the line that says it is ready, with few and with many entries: rows of the index, and files."""
    few, many = 1_000, field.amounts.entries
    folder = field.folder / "start"
    commands = {count: _holding(folder / str(count), field.origin(), count) for count in (few, many)}
    run.say("    filled")
    took, worked = {few: [], many: []}, {few: [], many: []}
    for turn in range(max(4, 2 * run.rounds) + 1):
        for count in (few, many) if turn % 2 else (many, few):
            seconds, processor = _until_ready(commands[count], folder / str(count))
            if turn:  # the first of each reads its files from the disk
                took[count].append(seconds)
                worked[count].append(processor)
    found = {count: held(folder / str(count) / "data") for count in (few, many)}
    subprocess.run(["rm", "-rf", str(folder)], check=False)  # quicker than from here
    later = [slower - faster for slower, faster in zip(took[many], took[few], strict=True)]
    result = Result("start, from the command to `ready`, in turns", "")
    # Other work on the machine disturbs processor time less than it disturbs the clock.
    result.lines += [
        f"{rows:>9,} rows, {files:>9,} files: {spread(took[count], 's')}; processor time {spread(worked[count], 's')}"
        for count, (rows, files) in found.items()
    ]
    median = statistics.median(later)
    result.targets.append(f"  wanted: at most 0.2 s later: {met(median <= 0.2)}, {number(median)} ({number(min(later))} - {number(max(later))}) s")
    return [result]


def _holding(folder, origin, count):
    """The command of a mirror that has served one file, and holds `count` entries."""
    first = ours(folder, origin)
    try:
        reply(Asked("this mirror", first.base + content.CONFIG_PATH))
    finally:
        first.close()
    fill(folder / "data", count)
    return prepared(folder, origin)


def _until_ready(command, folder):
    """Seconds until the mirror says that it is ready, by the clock and of its processor; it is stopped afterwards. Raises `Failed`."""
    with on_core(SERVERS), (folder / "starts.log").open("ab") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=log, cwd=folder, env={**clean_environment(), **OWN}, text=True
        )
    try:
        while line := process.stdout.readline():
            if " ready on " in line:
                return time.perf_counter() - began, processor_time(process.pid)
        raise Failed("this mirror", f"it did not start: {(folder / 'starts.log').read_text()[-300:]}")
    finally:
        end(process)
        process.stdout.close()
