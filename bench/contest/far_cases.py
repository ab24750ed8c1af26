"""Cases in front of an upstream that is 20 ms away and gives 125 MB/s a connection: cold files, and a warm snapshot."""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench.contest import content
from bench.contest.field import TRIP
from bench.contest.limits import MEBI, Peak
from bench.contest.load import Wrong, pull
from bench.contest.machine import CORES, LOAD, SERVERS, UPSTREAMS, move, on_core
from bench.contest.table import Failed, Result, Row, number, paired, spread
from tests.support.clients import HubClient

DIRECT = "direct"


def parallel(count):
    """The hub's configuration for `count` ranges at a time."""
    return {"transfers": {"parallel": count}}


def _bases(field, mirror, *others):
    servers = {name: server.base for name in others if (server := field.server(name, far=True)) is not None}
    return {DIRECT: field.origin(far=True).hub, **servers, "this mirror": mirror.base}


def _cold(name, base, field):
    """One cold download, checked: what `pull fetch` found."""
    number = field.fresh("cold")
    wanted = content.cold(field.amounts, number)
    try:
        found = pull("fetch", url=base + content.cold_path(number))
    except Wrong as error:
        raise Failed(name, str(error)) from None
    if (found["status"], found["bytes"], found["sha256"]) != (200, wanted.size, wanted.sha256):
        raise Failed(
            name, f"status {found['status']}, {found['bytes']} bytes instead of {wanted.size}, or another digest"
        )
    return found


def _cold_rates(field, run, title, mirror, targets, *others):
    bases = _bases(field, mirror, *others)
    result = Result(title, "MB/s")

    def measure(name):
        found = _cold(name, bases[name], field)
        return found["bytes"] / found["seconds"] / 1e6

    for name in bases:
        if name != "olah":  # one download each before it counts; olah's first one says whether it can
            measure(name)
    rows = [Row(name) for name in bases if name != "this mirror"]
    paired(result, rows, run.few, measure, run.say)
    for rival, least in targets.items():
        result.target(rival, least)
    return [result]


def cold_stream(field, run):
    """A cold file over one connection to upstream."""
    title = f"cold file of {field.amounts.cold >> 20} MiB, one connection upstream of 125 MB/s and 20 ms"
    return _cold_rates(field, run, title, _far_mirror(field, 1), {DIRECT: 0.95, "olah": 1}, "olah")


def cold_ranges(field, run):
    """A cold file over several ranges at a time."""
    title = f"cold file of {field.amounts.cold >> 20} MiB in four parts at a time, each connection 125 MB/s and 20 ms"
    return _cold_rates(field, run, title, _far_mirror(field, 4), {DIRECT: 1.0001})


def _far_mirror(field, count):
    return field.mirror(f"mirror-far-{count}", far=True, hubs={"huggingface": parallel(count)})


def first_byte(field, run):
    """How long the first byte of a cold file takes: asked for at once, and after the HEAD that huggingface_hub sends."""
    mirror = _far_mirror(field, 1)
    bases = _bases(field, mirror, "olah")
    ways = ((False, "GET alone"), (True, "HEAD, then GET, as huggingface_hub does"))
    return [_first_byte(field, run, bases, head_first, what) for head_first, what in ways]


def _first_byte(field, run, bases, head_first, what):
    result = Result(f"first byte of a cold file, 20 ms away: {what}", "ms", higher=False)

    def measure(name):
        number = field.fresh("first")
        wanted = content.first(field.amounts, number)
        try:
            found = pull("fetch", url=bases[name] + content.first_path(number), head_first=head_first)
        except Wrong as error:
            raise Failed(name, str(error)) from None
        if (found["status"], found["sha256"]) != (200, wanted.sha256):
            raise Failed(name, f"status {found['status']}, {found['bytes']} bytes, or another digest")
        return found["first"] * 1e3

    for name in (DIRECT, "this mirror"):
        measure(name)
    paired(result, [Row(name) for name in bases if name != "this mirror"], run.rounds, measure, run.say)
    row = result.rows[0]
    later = [our - their for our, their in zip(row.ours, row.theirs, strict=True)]
    trip = TRIP * 1e3
    met = "met" if statistics.median(later) <= trip else "NOT met"
    result.targets.append(f"  wanted: at most {trip:g} ms (one round trip) after direct: {met}, {spread(later, 'ms')}")
    result.target("olah", 1)
    return result


_SNAPSHOT = """
import sys, time
from huggingface_hub import snapshot_download
started = time.perf_counter()
where = snapshot_download(sys.argv[1], local_dir=sys.argv[2])
print(time.perf_counter() - started)
"""


def snapshot(field, run):
    """Repositories of many small files, with the real client: one beside direct, and a small one beside olah, which takes a minute for 60."""
    mirror = _far_mirror(field, 1)
    bases, origin = _bases(field, mirror, "olah"), field.origin(far=True)
    if len(CORES) < 3:  # going direct, the upstream is the server, and has the server's core
        move(origin.pid, SERVERS)
    try:
        results = [_snapshots(field, run, bases, DIRECT, "many", run.few)]
        if "olah" in bases:
            results.append(_snapshots(field, run, bases, "olah", "few", min(2, run.few)))
    finally:
        move(origin.pid, UPSTREAMS)
    return results


def _snapshots(field, run, bases, rival, what, rounds):
    files = content.many(field.amounts, what)

    def measure(name):
        return _downloaded(field, name, bases[name], content.MODELS[what], files)

    result = Result(f"snapshot_download of {len(files) + 1:,} small files, warm, upstream 20 ms away", "s", higher=False)
    row = Row(rival)
    measure("this mirror")  # fills the cache
    if rival != DIRECT:
        try:
            result.lines.append(f"{rival}, cold: {number(measure(rival))} s")
        except Failed as error:
            row.wrong = f"filling its cache: {error}"
    paired(result, [row], rounds, measure, run.say)
    result.target(rival, 1.0001)
    return result


def _downloaded(field, name, base, repository, expected):
    """Seconds that the client says a snapshot took, its files compared with what the hub has. Raises `Failed`."""
    home = Path(tempfile.mkdtemp(prefix="snapshot-", dir=field.folder))
    client = HubClient(Path(sys.executable), base, home, extra={"HF_HUB_DISABLE_XET": "1"})
    with on_core(LOAD):
        try:
            said = client.python_says(_SNAPSHOT, repository, str(home / "files"), timeout=400)
        except Exception as error:
            raise Failed(name, f"{type(error).__name__} after 400 s") from None
    found = {path.relative_to(home / "files").as_posix(): path.read_bytes() for path in (home / "files").rglob("*.json")}
    shutil.rmtree(home, ignore_errors=True)
    if said.code or any(found.get(path) != data for path, data in expected.items()):
        raise Failed(name, f"{len(found)} of {len(expected)} files: {said.err.strip().splitlines()[-1:]}")
    return float(said.out.split()[-1])


def eight_clients(field, run):
    """Eight clients want one cold file at once, and what that costs in memory."""
    mirror = _far_mirror(field, 4)
    bases, servers = _bases(field, mirror, "olah"), {"this mirror": mirror, "olah": field.server("olah", far=True)}
    result = Result(f"8 clients, one cold file of {field.amounts.cold >> 20} MiB, until the last has it", "s", higher=False)
    grown = {}

    def measure(name):
        number = field.fresh("cold")
        with Peak(servers[name]) as peak:
            idle = servers[name].memory()
            found = pull("crowd", url=bases[name] + content.cold_path(number), connections=8, hashed=8)
        if (found["whole"], found["sha256"]) != (8, [content.cold(field.amounts, number).sha256]):
            raise Failed(name, f"{found['whole']} of 8 have the whole file, or another digest")
        grown.setdefault(name, []).append((peak.most - idle) / MEBI)
        return found["seconds"]

    measure("this mirror")
    paired(result, [Row("olah")] if servers["olah"] else [], min(2, run.few), measure, run.say)
    result.lines.append("memory beyond idle: " + ", ".join(f"{name} {max(values):+.0f} MiB" for name, values in grown.items()))
    result.target("olah", 1)
    return [result]
