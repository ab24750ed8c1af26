"""Lineage, measured: how many of the publicly stated roots are found without the shipped relations, and what a first byte costs.

    python -m bench.lineage [--quick]

The stand-in hub answers every page of its API after a set latency; 0 generations are a root, N a model with N above it that
nobody has asked for yet. `latencies` is the time until the first byte in units of that latency; the promise is
(unseen generations + 1) and 20 %.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import structlog
from yarl import URL

from mirror.policy.lineage import Lineage
from tests.hubs.huggingface.conftest import mirror_of
from tests.hubs.huggingface.test_lineage_withheld import measured
from tests.support import lineage_cards
from tests.support.standin.hub import StandInHub

#: How often each is taken; the median is told, for the machine is not alone.
TAKES = 5
RULES = 'version: 1\nrules:\n  - {id: line, when: {ancestor: {any: ["denied/*"]}}, effect: deny, on_unknown: allow}\n'


def line(hub: StandInHub, depth: int, tag: str, top: str = "") -> str:
    """A model with `depth` generations above it; `top` is what the oldest of them declares.

    Its weights have more than 64 KiB: of a smaller file nothing may leave before all of it is verified (P3).
    """
    above = top
    for number in range(depth, -1, -1):
        tags = [f"base_model:finetune:{above}"] if above else []
        above = f"acme/{tag}-{number}"
        hub.add_repo("model", above, {"README.md": b"# A model\n", "config.json": b"{}"}, {"model.safetensors": above.encode() * 30_000}, tags=tags)
    return above


async def first_byte(mirror, name: str) -> tuple[float, int, int]:
    """(seconds until the first byte of a weight file, its status, how often a client was told to come again)."""
    begun, again = time.perf_counter(), 0
    while True:
        url = URL(f"{mirror.url}/{name}/resolve/main/model.safetensors", encoded=True)
        async with mirror.session.get(url) as answer:
            await answer.content.readany()
            if answer.status != 503:
                return time.perf_counter() - begun, answer.status, again
        again += 1
        await asyncio.sleep(0.5)


async def bytes_of(folder: Path, latency: float, everywhere: bool, cases: dict[str, int]) -> None:
    """One row for each line of a length, with what else can be above it."""
    async with StandInHub() as hub:
        lines: dict[str, tuple[list[str], int]] = {}
        hub.add_repo("model", "initech/closed", private=True)
        for label, depth in cases.items():
            lines[label] = [line(hub, depth, f"d{depth}-{take}") for take in range(TAKES if depth < 20 else 1)], depth
        takes = range(TAKES)
        lines["loop of 3"] = [line(hub, 2, f"loop{take}", f"acme/loop{take}-0") for take in takes], 2
        lines["parent gone"] = [line(hub, 1, f"gone{take}", f"initech/gone{take}") for take in takes], 2
        lines["parent closed"] = [line(hub, 1, f"closed{take}", "initech/closed") for take in takes], 2
        lines["6 seen above"] = [line(hub, 0, f"seen{take}", f"acme/d6-{take}-0") for take in takes], 0
        async with mirror_of(hub, folder, RULES) as mirror:
            await first_byte(mirror, line(hub, 0, "warm"))
            hub.faults.add("latency", "*" if everywhere else "/api/*", seconds=latency)
            for label, (names, unseen) in lines.items():
                rows = sorted([await first_byte(mirror, name) for name in names])
                taken, status, again = rows[len(rows) // 2]
                units, promised = taken / latency, (unseen + 1) * 1.2
                verdict = "ok" if units <= promised else "over"
                told = f", told to come again {again} times" if again else ""
                print(f"  {label:16} {units:6.2f} latencies of {promised:5.1f}  {verdict}  ({status}{told}, fastest {rows[0][0] / latency:.2f})")


async def roots(folder: Path, every: int) -> None:
    """How much is found of what sources state, by how it is told."""
    made, stated = lineage_cards.world()
    async with StandInHub() as hub:
        lineage_cards.put(hub, made)
        async with mirror_of(hub, folder, RULES) as mirror:
            book = mirror.book
            mirror.gateway._epoch = lambda: replace(book.current, lineage=Lineage([]))
            found, wrong, asked = await measured(mirror.gateway, made, stated, every)
    asked_for = len(list(stated)[::every])
    print(f"stated roots, shipped relations withheld: {sum(found.values())} of {asked_for} found, {len(wrong)} wrong")
    by = Counter({form: sum(found[name] for name in found if made[name].form == form) for form in asked})
    print("  " + ", ".join(f"{form} {by[form]}/{asked[form]}" for form in sorted(asked)))


async def main(quick: bool) -> None:
    """Everything, one after the other."""
    with tempfile.TemporaryDirectory() as folder:
        await roots(Path(folder) / "roots", 6 if quick else 1)
        print("first byte, 200 ms for each page of the hub's API:")
        await bytes_of(Path(folder) / "api", 0.2, False, {"root": 0, "1 above": 1, "6 above": 6} | ({} if quick else {"60 above": 60}))
        print("first byte, 200 ms for each request of any kind:")
        await bytes_of(Path(folder) / "all", 0.2, True, {"root": 0, "1 above": 1, "6 above": 6})


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a sixth of the roots, no line of 60")
    asyncio.run(main(parser.parse_args().quick))
