"""Cases in front of an upstream that is 20 ms away and gives 125 MB/s a connection: cold files, and a warm snapshot."""

from __future__ import annotations

import itertools
import statistics
import sys
from pathlib import Path

from bench.contest import content
from bench.contest.field import TRIP
from bench.contest.load import Wrong, pull
from bench.contest.machine import CORES, LOAD, SERVERS, UPSTREAMS, move, on_core
from bench.contest.table import Failed, Result, Row, number, paired, spread
from mirror import config as configuration
from tests.support.clients import HubClient

DIRECT = "direct"


def parallel(count):
    """The hub's configuration for `count` ranges at a time; None in a version that has no such setting."""
    known = configuration.schema()["$defs"]
    there = "transfers" in known["HubConfig"]["properties"] and "parallel" in known.get("Transfers", {}).get(
        "properties", {}
    )
    return {"transfers": {"parallel": count}} if there else None


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
    paired(result, rows, min(run.rounds, 5), measure, run.say)
    for rival, least in targets.items():
        result.target(rival, least)
    return [result]


def cold_stream(field, run):
    """A cold file over one connection to upstream."""
    one = parallel(1)
    mirror = _far_mirror(field, "mirror-far-one", one)
    title = f"cold file of {field.amounts.cold >> 20} MiB, one connection upstream of 125 MB/s and 20 ms"
    return _cold_rates(field, run, title, mirror, {DIRECT: 0.95, "olah": 1}, "olah")


def cold_ranges(field, run):
    """A cold file over several ranges at a time."""
    title = f"cold file of {field.amounts.cold >> 20} MiB in parts, each connection 125 MB/s and 20 ms"
    several = parallel(4)
    if several is None:
        return [Result(title, "MB/s", lines=["not there: this version has no such setting"])]
    try:
        return _cold_rates(
            field, run, f"{title}; four ranges", _far_mirror(field, "mirror-far-four", several), {DIRECT: 1.0001}
        )
    finally:
        field.drop("mirror-far-four")


def _far_mirror(field, slug, hub):
    mirror = field.mirror(slug, far=True, **({"hubs": {"huggingface": hub}} if hub else {}))
    if mirror is None:
        raise Failed("this mirror", field.left_out[slug])
    return mirror


def first_byte(field, run):
    """How long the first byte of a cold file takes: asked for at once, and after the HEAD that huggingface_hub sends."""
    mirror = _far_mirror(field, "mirror-far-one", parallel(1))
    bases = _bases(field, mirror, "olah")
    results = []
    for head_first, what in ((False, "GET alone"), (True, "HEAD, then GET, as huggingface_hub does")):
        result = Result(f"first byte of a cold file, 20 ms away: {what}", "ms", higher=False)

        def measure(name, head_first=head_first):
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
        paired(result, [Row(name) for name in bases if name != "this mirror"], min(run.rounds, 5), measure, run.say)
        row = result.rows[0]
        later = [our - their for our, their in zip(row.ours, row.theirs, strict=True)]
        trip = TRIP * 1e3
        met = "met" if statistics.median(later) <= trip else "NOT met"
        result.targets.append(
            f"  wanted: at most {trip:g} ms (one round trip) after direct: {met}, {spread(later, 'ms')}"
        )
        results.append(result)
    return results


_SNAPSHOT = """
import sys, time
from huggingface_hub import snapshot_download
started = time.perf_counter()
where = snapshot_download(sys.argv[1], local_dir=sys.argv[2])
print(time.perf_counter() - started)
"""


def snapshot(field, run):
    """A repository of many small files, with the real client."""
    name_of, count = content.MODELS["many"], field.amounts.many + 1
    mirror = _far_mirror(field, "mirror-far-one", parallel(1))
    bases = _bases(field, mirror, "olah")
    runs = itertools.count()
    origin = field.origin(far=True)
    expected = {**content.many(field.amounts)}

    def measure(name):
        home = field.folder / "snapshots" / str(next(runs))
        client = HubClient(Path(sys.executable), bases[name], home, extra={"HF_HUB_DISABLE_XET": "1"})
        with on_core(LOAD):
            try:
                said = client.python_says(_SNAPSHOT, name_of, str(home / "files"), timeout=400)
            except Exception as error:
                raise Failed(name, f"{type(error).__name__} after 400 s") from None
        files = {path.relative_to(home / "files").as_posix(): path for path in (home / "files").rglob("*.json")}
        if said.code or any(path not in files or files[path].read_bytes() != data for path, data in expected.items()):
            raise Failed(name, f"{len(files)} of {count} files: {said.err.strip().splitlines()[-1:]}")
        return float(said.out.split()[-1])

    result = Result(f"snapshot_download of {count:,} small files, warm, upstream 20 ms away", "s", higher=False)
    if len(CORES) < 3:  # going direct, the upstream is the server, and has the server's core
        move(origin.pid, SERVERS)
    try:
        measure("this mirror")  # fills the cache
        paired(result, [Row(DIRECT)], min(run.rounds, 5), measure, run.say)
        if "olah" in bases:
            row = Row("olah")
            try:
                run.say(f"    olah, cold: {number(measure('olah'))} s")
            except Failed as error:
                row.wrong = f"filling its cache: {error}"
            paired(result, [row], 1, measure, run.say)
    finally:
        move(origin.pid, UPSTREAMS)
    result.target(DIRECT, 1)
    result.target("olah", 1)
    return [result]
