"""Questions to a generated index: how long one page takes, and one summary.

    python -m bench.ledger_queries [--events 1000000] [--keep FOLDER]

The index is filled by the product's own code with records of invented organisations: ten per mille refused, few held, a tenth of
them repeats, 2,000 projects of 200 publishers, 300 clients in 12 groups and 9 countries, over two years. With --keep it stays
and is used again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mirror.core.canonical import instant
from mirror.core.ids import ulid
from mirror.index.sql import SqlIndex

BEGIN = datetime(2024, 11, 22, tzinfo=UTC)
TAKES = 7
COUNTRIES = ("US", "DE", "GB", "FR", "NL", "CA", "JP", "AU", None)
QUESTIONS: dict[str, dict[str, str]] = {
    "the newest": {},
    "one client": {"actor": "u:17"},
    "one group": {"group": "group-3"},
    "one group, refused": {"group": "group-3", "effect": "deny"},
    "one publisher": {"publisher": "publisher-42"},
    "one country": {"country": "JP"},
    "one rule": {"rule": "rule-4"},
    "one list": {"list": "list-1"},
    "one ancestor": {"ancestor": "org-7/model-7"},
    "ancestors of an owner": {"ancestor": "org-7/*"},
    "an artifact prefix": {"artifact": "pkg:huggingface/org-42/"},
    "a common prefix": {"artifact": "pkg:huggingface/"},
    "a day two years ago": {"since": "2024-11-25", "until": "2024-11-26"},
    "all of the first year": {"until": "2025-11-22"},
    "a rule, group, country, year": {"rule": "rule-4", "group": "group-3", "country": "JP", "since": "2025-01-01", "until": "2026-01-01"},
    "held in one country": {"effect": "review", "country": "AU"},
    "what there is none of": {"publisher": "publisher-42", "effect": "deny", "country": "JP", "artifact": "pkg:pypi/"},
}
SUMS = [(by, {}) for by in ("day", "rule", "country", "publisher", "group")] + [
    ("publisher", {"rule": "rule-4"}), ("country", {"since": "2026-10-01"}), ("day", {"group": "group-3"}),
]  # fmt: skip


def record(seq: int, at: datetime, luck: random.Random, first: list[str]) -> dict[str, Any]:
    """One joined record; every tenth repeats a decision of before."""
    client = luck.randrange(300)
    actor = {"name": f"u:{client}", "address": None, "groups": [f"group-{client % 12}"], "country": COUNTRIES[client % 9], "country_source": "group"}
    common = {"seq": seq, "at": instant(at), "personal": "sha256:" + "0" * 64, "prev": "0" * 64, "leaf": f"{seq:064x}", "actor": actor}
    if first and seq % 10 == 9:
        return {**common, "kind": "repeated", "count": luck.randrange(1, 40), "subject": luck.choice(first)}
    made = luck.randrange(2000)
    project = f"pkg:huggingface/org-{made % 200}/model-{made}" if made % 3 else f"pkg:pypi/package-{made}"
    kind, effect = ("refused", "deny") if luck.random() < 0.01 else ("held", "review") if luck.random() < 0.002 else ("allowed", "allow")
    rules = [{"id": f"rule-{luck.randrange(8)}", "effect": effect, "mode": "enforce", "legal": False, "basis": ""}] if effect != "allow" else []
    base = made % 200
    edges = [{"from": project, "to": f"pkg:huggingface/org-{base}/model-{base}", "relation": "finetune", "evidence": "declared", "confidence": 10_000, "depth": 1,
              "publisher": None, "countries": None}] if made % 3 == 1 else []  # fmt: skip
    identity = ulid(at, seq.to_bytes(10, "big"))
    first[:] = [*first[-50:], identity]
    fact = {"value": f"publisher-{made % 200}", "source": "catalogue", "confidence": "B"} if made % 5 else {"value": None, "source": "catalogue", "confidence": "A"}
    matches = [{"list": f"list-{made % 3}", "edition": "1", "entry": "1", "name": "n", "score": 9500}] if rules else []
    return {**common, "kind": kind, "count": 1, "decision": {
        "id": identity, "at": instant(at), "effect": effect, "would": effect, "rules": rules, "sentence": "", "artifact": f"{project}@{'a' * 40}#part-{seq % 30}.safetensors",
        "project": project, "actor": actor, "facts": {"publisher": fact}, "lineage": edges, "matches": matches, "policy": "f" * 64, "catalogue": "e" * 64, "lists": {},
        "suggestions": [], "valid_until": None, "request": {"id": str(seq), "method": "GET", "path": "/x", "user_agent": None}, "status": 200,
    }}  # fmt: skip


def pages(count: int) -> Iterator[list[dict[str, Any]]]:
    """All records, a thousand at a time."""
    luck, first, step = random.Random(7), list[str](), timedelta(days=730) / count
    for start in range(0, count, 1000):
        yield [record(seq, BEGIN + seq * step, luck, first) for seq in range(start, min(start + 1000, count))]


def forgotten(folder: Path) -> None:
    """Let the kernel drop what it holds of the index in memory, so that the next read comes from the disk."""
    for path in folder.glob("index.sqlite*"):
        descriptor = os.open(path, os.O_RDWR)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


async def cold(folder: Path, where: dict[str, str]) -> float:
    """Seconds of the first page that a process asks for, nothing of the index in memory."""
    index = await SqlIndex.open(None, folder)
    try:
        forgotten(folder)
        begun = time.perf_counter()
        await index.query(where, 50, None)
        return time.perf_counter() - begun
    finally:
        await index.close()


async def timed(index: SqlIndex, where: dict[str, str]) -> tuple[int, list[float]]:
    """(rows of a page of 50, seconds each time it was asked for)."""
    taken, rows = [], 0
    for _ in range(TAKES):
        begun = time.perf_counter()
        rows = len(await index.query(where, 50, None))
        taken.append(time.perf_counter() - begun)
    return rows, taken


async def main(count: int, folder: Path) -> None:
    """Fill, then ask."""
    index = await SqlIndex.open(None, folder)
    begun, there = time.perf_counter(), await index.last_sequence() + 1
    if there < count:
        for page in pages(count):
            await index.add_events(page)
        print(f"{count:,} records indexed, {count / (time.perf_counter() - begun):,.0f}/s, {(folder / 'index.sqlite').stat().st_size >> 20} MiB")
        await index.close()  # and with it the write-ahead log
        index = await SqlIndex.open(None, folder)
    print(f"a page of 50 of {count:,} events, SQLite; median and slowest of {TAKES}, and the first of a process from a cold disk:")
    slowest = coldest = 0.0
    for label, where in QUESTIONS.items():
        rows, taken = await timed(index, where)
        slowest, first = max(slowest, statistics.median(taken)), await cold(folder, where)
        coldest = max(coldest, first)
        print(f"  {label:30} {statistics.median(taken) * 1000:7.1f} ms  {max(taken) * 1000:7.1f} ms  {first * 1000:7.1f} ms  {rows} rows", flush=True)
    print(f"  slowest median {slowest * 1000:.1f} ms, slowest from a cold disk {coldest * 1000:.1f} ms; the promise is 200 ms: {'ok' if slowest < 0.2 else 'over'}")
    print("a summary of all of them, once:")
    for by, where in SUMS:
        begun = time.perf_counter()
        found = await index.summed(by, where)
        print(f"  by {by:10} {where or ''!s:28} {(time.perf_counter() - begun) * 1000:7.0f} ms  {len(found)} rows")
    await index.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="fifty thousand events")
    parser.add_argument("--keep", type=Path, help="where the index is made, and left")
    given = parser.parse_args()
    wanted = 50_000 if given.quick else given.events
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(wanted, given.keep or Path(temporary)))
