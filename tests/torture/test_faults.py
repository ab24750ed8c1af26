"""Faults that nobody thought of together: any of them, at any place, several at once, to several readers at once.

`tests/proxy/test_fault_suite.py` has each fault by itself with what exactly must come of it. Here only what must hold always
is looked at: the right bytes or a clear error, healing, and a store without a wrong byte.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mirror.upstream.client import Limits
from tests.hubs.huggingface.conftest import Mirror, mirror_of
from tests.proxy.flight_fixture import MIB, noise
from tests.proxy.test_fault_suite import CDN, GIT, TUNING, Got, cut, healed, judge, no_wrong_blob, read
from tests.support.standin.hub import StandInHub

#: Scenarios in front of one mirror.
A_MIRROR = 20
KINDS = (
    "drop_fin", "drop_rst", "drop_before_headers", "hang_headers", "hang_body", "flip", "short", "long", "gzip", "ignore_range", "wrong_range",
    "status", "rate_limited", "redirect", "garbage_http", "throttle", "latency", "expire",
)  # fmt: skip


@dataclass(frozen=True)
class Scenario:
    """One file, what goes wrong while it is read, and the ranges (None: the whole) that are asked for."""

    name: str
    data: bytes
    lfs: bool
    faults: tuple[tuple[str, dict[str, Any]], ...]
    asked: tuple[str | None, ...]
    delays: tuple[float, ...]


def a_fault(chance: random.Random, size: int) -> tuple[str, dict[str, Any]]:
    kind = chance.choice(KINDS)
    options: dict[str, Any] = {"times": chance.choice((1, 2, 4, None, None)), "skip": chance.choice((0, 0, 1, 3))}
    at = chance.choice((0, 1, size - 1, chance.randrange(size), chance.randrange(size), 65536 % size))
    match kind:
        case "drop_fin" | "drop_rst" | "flip" | "short":
            options["at"] = at
        case "hang_body":
            options |= {"at": at, "seconds": 30.0, "times": options["times"] or 2}
        case "hang_headers":
            options |= {"seconds": 30.0, "times": 1}
        case "status":
            options["status"] = chance.choice((400, 403, 410, 416, 500, 502, 503, 504))
        case "rate_limited":
            options |= {"seconds": 1.0, "times": 1}
        case "redirect":
            options["location"] = chance.choice(("http://127.0.0.1:1/latest/meta-data", "http://169.254.169.254/latest/meta-data", "file:///etc/passwd"))
        case "wrong_range" | "long":
            options["extra"] = chance.choice((1, 7, 65536))
        case "throttle":
            options["rate"] = 2_000_000
        case "latency":
            options["seconds"] = 0.3
    return kind, options


def a_range(chance: random.Random, size: int) -> str | None:
    start, stop = sorted((chance.randrange(size), chance.randrange(size)))
    return chance.choice((None, None, f"bytes={start}-{stop}", f"bytes={start}-", f"bytes=0-{stop}", f"bytes={max(0, size - 65536)}-"))


def scenario(number: int, seed: int) -> Scenario:
    chance = random.Random(f"{seed} {number}")
    size = chance.choice((1, 777, 65536, 65537, 700_001, MIB, 2 * MIB + 33, 3 * MIB + 1))
    faults = tuple(a_fault(chance, size) for _ in range(chance.choice((1, 1, 2, 3))))
    asked = [a_range(chance, size) for _ in range(chance.choice((1, 2, 4)))]
    if size > 65536 and chance.random() < 0.2:  # everything, in sixteen closed ranges: as good as a whole
        edges = [size * part // 16 for part in range(17)]
        asked = [f"bytes={start}-{stop - 1}" for start, stop in zip(edges, edges[1:], strict=False)]
    delays = tuple(chance.choice((0.0, 0.0, 0.05, 0.2)) for _ in asked)
    return Scenario(f"{number:03}.dat", noise(size, seed=seed * 1000 + number), chance.random() < 0.7, faults, tuple(asked), delays)


async def clients(mirror: Mirror, one: Scenario) -> list[Got]:
    async def client(asked: str | None, delay: float) -> Got:
        await asyncio.sleep(delay)
        return await read(mirror, one.name, asked)

    return await asyncio.gather(*(client(asked, delay) for asked, delay in zip(one.asked, one.delays, strict=True)))


def looked_at(one: Scenario, answers: list[Got]) -> int:
    """How many have what they asked for. Fails where a client has neither that nor a clear error, or all parts of a wrong file."""
    right, parts = 0, 0
    for asked, got in zip(one.asked, answers, strict=True):
        if got.status == 206 and got.whole and not got.verified:  # P3's exception: marked, and never all of a file
            right += got.body == cut(one.data, asked)
            parts += 1
        else:
            right += judge(one.data, asked, got)
            parts += got.status == 206 and got.whole
    if len(one.asked) == parts == 16:
        assert b"".join(got.body for got in answers) == one.data
    return right


async def suffered(hub: StandInHub, mirror: Mirror, one: Scenario, tried: Counter[str]) -> None:
    for kind, options in one.faults:
        if kind == "expire":
            hub.expire_signed_urls()
        else:
            hub.faults.add(kind, **(CDN if one.lfs else GIT), **options)
    answers = await clients(mirror, one)
    right = looked_at(one, answers)
    tried.update({"scenarios": 1, "faults": len(one.faults), "requests": len(answers), "right at once": right})
    hub.faults.clear()
    assert await healed(mirror, one.name, one.data)


async def a_mirror_of_them(folder: Path, seed: int, tried: Counter[str]) -> None:
    several = [scenario(number, seed) for number in range(A_MIRROR)]
    async with StandInHub() as hub:
        plain = {one.name: one.data for one in several if not one.lfs}
        hub.add_repo("model", "acme/files", {"config.json": b"{}", **plain}, {one.name: one.data for one in several if one.lfs})
        options = {"limits": Limits(connect=1.0, read=0.6, backoff=0.01), "tuning": TUNING}
        async with mirror_of(hub, folder, **options) as mirror:
            for one in several:
                try:
                    await suffered(hub, mirror, one, tried)
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}, {one.name}, {one.faults}, {one.asked}: {error}") from error
        assert no_wrong_blob(folder) > 0


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("mirrors", [1, pytest.param(40, marks=pytest.mark.torture)])
async def test_any_faults_at_any_place(tmp_path, mirrors, record_property):
    """Whatever goes wrong together: right bytes or a clear error for each reader, the file afterwards, and no wrong blob."""
    tried: Counter[str] = Counter()
    for seed in range(1, mirrors + 1):
        await a_mirror_of_them(tmp_path / str(seed), seed, tried)
    record_property("tried", dict(tried))
