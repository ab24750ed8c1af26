"""Many clients at once, and many entries: memory, bytes from upstream, and the time to start."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import threading
import time

from bench.contest import content
from bench.contest.load import Wrong, pull, pulled_rate, started
from bench.contest.machine import SERVERS, on_core
from bench.contest.running import ours
from bench.contest.table import Failed, Result, number, spread
from bench.contest.warm import Asked, reply
from tests.support.mirror import MirrorProcess

MEBI = 1 << 20


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


def crowd(field, run):
    """Everybody wants one cold file at once."""
    result = Result(
        f"{field.amounts.clients} clients, one cold file of {field.amounts.big >> 20:,} MiB at 125 MB/s upstream", ""
    )
    mirror = field.mirror("crowd", far=True, whole_machine=True, listen={"workers": 2})
    if mirror is None:
        result.lines.append(f"two workers: not there ({field.left_out.pop('crowd')[-120:]}); with one:")
        mirror = field.mirror("crowd-one", far=True, whole_machine=True)
    if mirror is None:
        raise Failed("this mirror", field.left_out["crowd-one"])
    _crowd(result, field, mirror, field.amounts.clients, wanted=True)
    field.drop("crowd")
    field.drop("crowd-one")
    olah = field.server("olah", far=True)
    if olah is not None:
        _crowd(result, field, olah, min(8, field.amounts.clients), wanted=False)
    return [result]


def _crowd(result, field, server, clients, *, wanted):
    origin, bulk = field.origin(far=True), content.big(field.amounts)
    warmed = Asked(server.name, server.base + content.CONFIG_PATH)
    for _ in range(50):
        reply(warmed)
    before, idle = origin.sent(), server.memory()
    with Peak(server) as peak:
        try:
            found = pull("crowd", url=server.base + content.BIG_PATH, connections=clients, hashed=4)
        except Wrong as error:
            found = {"whole": 0, "sha256": [str(error)], "seconds": 0}
    crossed, grown = origin.sent() - before, peak.most - idle
    good = found["whole"] == clients and found["sha256"] == [bulk.sha256]
    result.lines.append(
        f"{server.name}, {clients} clients: {found['whole']} whole{'' if good else ' - WRONG'}, {found['seconds']:.1f} s; upstream sent {crossed / bulk.size:.3f} "
        f"times the file; memory {idle / MEBI:.0f} MiB idle, {grown / MEBI:+.0f} MiB at most"
    )
    if wanted:
        result.targets.append(
            f"  wanted: each byte from upstream once: {'met' if crossed <= bulk.size * 1.001 and good else 'NOT met'}"
        )
        result.targets.append(
            f"  wanted: memory grows by less than 150 MiB: {'met' if grown < 150 * MEBI else 'NOT met'}"
        )


def slow_readers(field, run):
    """Many clients that read hardly anything, and one that reads quickly."""
    count = field.amounts.slow
    result = Result(f"{count:,} slow readers of a warm file of {field.amounts.big >> 20:,} MiB, and a fast one", "")
    for name, path in (("this mirror", content.BIG_PATH), ("nginx static", "/model.safetensors")):
        server = field.server(name)
        if server is None:
            continue
        url = server.base + path
        pull("fetch", url=url)
        try:
            alone = [pulled_rate(url, run.seconds, 1)["bytes"] / 1e6 for _ in range(min(run.rounds, 3))]
            idle = server.memory()
            process, said = started("slow", url=url, connections=count)
            with Peak(server) as peak:
                beside = [pulled_rate(url, run.seconds, 1)["bytes"] / 1e6 for _ in range(min(run.rounds, 3))]
        except Wrong as error:
            raise Failed(name, str(error)) from None
        finally:
            if "process" in locals():
                process.stdin.close()
                process.wait(30)
                process.stdout.close()
        grown = peak.most - idle
        result.lines.append(
            f"{name}: {said.get('ready', 0):,} being served; memory {idle / MEBI:.0f} MiB before, {grown / MEBI:+.0f} MiB at most; the fast one "
            f"{spread(beside, 'MB/s')}, alone {spread(alone, 'MB/s')}"
        )
        if name == "this mirror":
            result.targets.append(
                f"  wanted: memory grows by less than 150 MiB: {'met' if grown < 150 * MEBI else 'NOT met'}"
            )
            share = statistics.median(beside) / statistics.median(alone)
            result.targets.append(
                f"  wanted: the fast one is not starved (at least half as fast as alone): {'met' if share >= 0.5 else 'NOT met'} ({share:.2f})"
            )
    return [result]


def start(field, run):
    """From the process's start to the line that says it is ready, with few and with many entries in its index."""
    folder = field.folder / "start"
    first = ours(folder / "few", field.origin())
    reply(Asked("this mirror", first.base + content.CONFIG_PATH))
    first.close()
    many = field.amounts.entries
    shutil.copytree(folder / "few", folder / "many")
    fill(folder / "few" / "data" / "index.sqlite", 1_000)
    fill(folder / "many" / "data" / "index.sqlite", many)
    took = {"few": [], "many": []}
    for turn in range(max(4, run.rounds) + 1):
        for which in ("few", "many") if turn % 2 else ("many", "few"):
            seconds = _start_again(folder / which)
            if turn:  # the first of each reads its files from the disk
                took[which].append(seconds)
    later = [many - few for many, few in zip(took["many"], took["few"], strict=True)]
    result = Result("start, from the command to `ready`", "")
    result.lines += [
        f"{1_000:>9,} entries: {spread(took['few'], 's')}",
        f"{many:>9,} entries: {spread(took['many'], 's')}",
    ]
    median = statistics.median(later)
    result.targets.append(
        f"  wanted: at most 0.2 s later: {'met' if median <= 0.2 else 'NOT met'} ({number(median) if median > 0 else 'no'} s)"
    )
    shutil.rmtree(folder, ignore_errors=True)
    return [result]


def fill(database, entries):
    """Copies of the one entry of an index, each with a name and a digest of its own, until there are so many."""
    with sqlite3.connect(database) as index:
        columns = [row[1] for row in index.execute("PRAGMA table_info(entries)")]
        own = {
            "key": "lower(hex(randomblob(32)))", "digest": "'sha256:' || lower(hex(randomblob(32)))",
            "artifact": "replace(artifact, 'config.json', 'file-' || n || '.json')",
        }  # fmt: skip
        values = ", ".join(own.get(name, name) for name in columns)
        index.execute(
            "WITH RECURSIVE numbers(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?) "
            f"INSERT INTO entries SELECT {values} FROM numbers, (SELECT * FROM entries LIMIT 1)", (entries,),
        )  # fmt: skip
    found = index.execute("SELECT count(*) FROM entries").fetchone()[0]
    index.close()
    if found < entries:
        raise RuntimeError(f"the index holds {found} entries instead of {entries}: was nothing stored?")


def _start_again(folder):
    import yaml

    config = yaml.safe_load((folder / "mirror.yaml").read_text(encoding="utf-8"))
    config["listen"].pop("port", None)
    policy = (folder / "policy.yaml").read_text(encoding="utf-8")
    mirror = MirrorProcess(folder, config, policy)
    with on_core(SERVERS):
        began = time.perf_counter()
        mirror.start()
        took = time.perf_counter() - began
    mirror.stop()
    return took
