"""Lineages as a whole mirror finds them: from files beside the cards, waited for and not, and again once known."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of
from .test_traces import gguf, safetensors

OPEN = """version: 1
rules:
  - {id: line, when: {ancestor: {any: ["globex/*"]}}, effect: deny, on_unknown: allow}
"""
NEEDS = frozenset({"ancestors"})


def add(hub: StandInHub, name: str, parents: tuple[str, ...] = (), files: dict[str, bytes] | None = None, **options):
    """A model whose card declares `parents`, with these files beside it."""
    tags = [f"base_model:finetune:{parent}" for parent in parents]
    return hub.add_repo("model", name, {"README.md": b"# A model\n", **(files or {})}, options.pop("lfs", None), tags=tags, **options)


def chain(hub: StandInHub, depth: int, owner: str = "acme") -> str:
    """A model with `depth` generations above it, the oldest globex/root."""
    above = "globex/root"
    add(hub, above)
    for number in range(depth - 1, 0, -1):
        add(hub, f"{owner}/gen-{number}", (above,))
        above = f"{owner}/gen-{number}"
    add(hub, f"{owner}/start", (above,))
    return f"{owner}/start"


async def lineage(mirror: Mirror, name: str):
    """(the walk, its source) as rules see it."""
    facts = await mirror.gateway.describe(Artifact(Project(HUGGINGFACE, Kind.MODEL, name, "huggingface"), "", "README.md"), NEEDS)
    return facts.ancestors.value, facts.ancestors.source


def told(edges):
    return {(edge.project.name, edge.relation, edge.evidence, edge.confidence) for edge in edges}


@pytest.fixture
async def hub():
    async with StandInHub() as running:
        yield running


async def test_files_tell_what_no_card_declares(hub: StandInHub, tmp_path: Path) -> None:
    """Each kind of file gives its edge, marked as inferred with its own confidence, and the fact names what was read."""
    add(hub, "globex/solid-7b")
    add(hub, "hooli/eye")
    head = gguf({"general.architecture": "llama", "general.source.huggingface.repository": "globex/solid-7b"})
    kinds = {
        "adapter": ({"adapter_config.json": b'{"base_model_name_or_path": "globex/solid-7b"}'}, {}, "adapter", 9500),
        "merged": ({"mergekit_config.yml": b"models: [{model: globex/solid-7b}]\nmerge_method: linear\n"}, {}, "merge", 9500),
        "config": ({"config.json": b'{"_name_or_path": "globex/solid-7b"}'}, {}, "unknown", 8000),
        "gguf": ({}, {"q4.gguf": head + bytes(200_000)}, "quantized", 9000),
        "tensors": ({}, {"model.safetensors": safetensors({"base_model": "globex/solid-7b"}) + bytes(200_000)}, "unknown", 9000),
        "prose": ({"README.md": b"This model is a fine-tuned version of [x](https://huggingface.co/globex/solid-7b).\n"}, {}, "finetune", 6000),
        "silent": ({"config.json": b'{"_name_or_path": "output/checkpoint-500", "vocab_size": 7}'}, {}, None, 0),
    }  # fmt: skip
    for name, (files, lfs, _, _) in kinds.items():
        add(hub, f"acme/{name}", files=files, lfs=lfs)
    add(hub, "acme/peft", extra={"config": {"peft": {"base_model_name_or_path": "globex/solid-7b"}}})
    both = {"config.json": json.dumps({"mm_vision_tower": "hooli/eye"}).encode()}
    add(hub, "acme/seeing", ("globex/solid-7b",), both)
    async with mirror_of(hub, tmp_path / "m", OPEN) as mirror:
        for name, (_, _, relation, confidence) in kinds.items():
            edges, source = await lineage(mirror, f"acme/{name}")
            expected = {("globex/solid-7b", relation, "inferred", confidence)} if relation else set()
            assert told(edges) == expected, name
            assert (source == "model cards") is (relation is None), name
        assert told((await lineage(mirror, "acme/peft"))[0]) == {("globex/solid-7b", "adapter", "inferred", 9500)}
        assert told((await lineage(mirror, "acme/seeing"))[0]) == {
            ("globex/solid-7b", "finetune", "declared", 10_000), ("hooli/eye", "component", "inferred", 8000),
        }  # fmt: skip
        assert (await mirror.get("/acme/gguf/resolve/main/q4.gguf")).status == 403
        assert (await mirror.get("/acme/silent/resolve/main/README.md")).status == 200
    assert not [call for call in hub.requests if call.method == "GET" and "q4.gguf" in call.path and call.headers.get("range") != "bytes=0-65535"]


async def test_what_cannot_be_read_is_unknown_and_never_fine(hub: StandInHub, tmp_path: Path) -> None:
    """A parent that is gone or closed ends the walk with its reason; a sure trace of one that is gone stays, prose does not."""
    add(hub, "globex/closed", private=True)
    add(hub, "acme/of-closed", ("globex/closed",))
    add(hub, "acme/of-gone", ("initech/gone",))
    add(hub, "acme/on-gone", files={"adapter_config.json": b'{"base_model_name_or_path": "initech/gone"}'})
    add(hub, "acme/said-gone", files={"README.md": b"This is a fine-tuned version of initech/gone\n"})
    add(hub, "acme/loop-a", ("acme/loop-b",))
    add(hub, "acme/loop-b", ("acme/loop-a",))
    strict = OPEN.replace("on_unknown: allow", "on_unknown: deny")
    async with mirror_of(hub, tmp_path / "m", strict) as mirror:
        # Without a credential the hub does not say whether something is closed or was never there.
        for name, missing in (("of-gone", ["gated"]), ("of-closed", ["gated"]), ("on-gone", ["gated"]), ("said-gone", []), ("loop-a", ["", "loop"])):
            assert [edge.missing for edge in (await lineage(mirror, f"acme/{name}"))[0]] == missing, name
        for name in ("of-gone", "of-closed", "on-gone", "said-gone"):
            assert (await mirror.get(f"/acme/{name}/resolve/main/README.md")).status == 403, name


async def test_one_walk_however_many_ask(hub: StandInHub, tmp_path: Path) -> None:
    """Twenty callers at once cause one request for each page and file of the line."""
    start = chain(hub, 3)
    async with mirror_of(hub, tmp_path / "m", OPEN) as mirror:
        answers = await asyncio.gather(*(mirror.get(f"/{start}/resolve/main/README.md") for _ in range(20)))
        assert {answer.status for answer in answers} == {403}
    asked = [call.path for call in hub.requests]
    assert len(asked) == len(set(asked))


async def test_ancestors_that_were_seen_cost_a_new_model_nothing(hub: StandInHub, tmp_path: Path) -> None:
    """An hour later a further model of the same line asks for its own pages alone; what is asked behind it serves the next."""
    start = chain(hub, 3)
    add(hub, "acme/other", ("acme/gen-1",))
    async with mirror_of(hub, tmp_path / "m", OPEN, lineage_patience=1.5) as mirror:
        assert len((await lineage(mirror, start))[0]) == 3
        mirror.pass_time(hours=1)
        hub.faults.add("hang_headers", "/api/models/acme/gen-1*", seconds=30)
        hub.faults.add("hang_headers", "/api/models/globex/root*", seconds=30)
        assert len((await lineage(mirror, "acme/other"))[0]) == 3  # `Pending` where it had to wait for them
        hub.faults.clear()


async def test_a_card_that_changes_is_seen_behind_and_counts_at_the_next_look(hub: StandInHub, tmp_path: Path) -> None:
    """A parent that declares another parent later changes the lineage of its children once it was asked for anew."""
    add(hub, "globex/root")
    middle = add(hub, "acme/middle")
    add(hub, "acme/start", ("acme/middle",))
    async with mirror_of(hub, tmp_path / "m", OPEN) as mirror:
        assert (await mirror.get("/acme/start/resolve/main/README.md")).status == 200
        middle.tags.append("base_model:finetune:globex/root")
        for _ in range(3):
            mirror.pass_time(minutes=2)
            await lineage(mirror, "acme/start")
            await asyncio.sleep(0.3)
        assert (await mirror.get("/acme/start/resolve/main/README.md")).status == 403


async def test_a_line_of_sixty_is_walked_to_its_root_behind_the_answers(hub: StandInHub, tmp_path: Path) -> None:
    """Past the patience callers are answered 503 with Retry-After while the one walk goes on, to all sixty generations."""
    start = chain(hub, 60)
    hub.faults.add("latency", "/api/models/*", seconds=0.01)
    async with mirror_of(hub, tmp_path / "m", OPEN, lineage_patience=0.2) as mirror:
        answer = await mirror.get(f"/{start}/resolve/main/README.md")
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) >= 1
        async with asyncio.timeout(60):
            while (answer := await mirror.get(f"/{start}/resolve/main/README.md")).status == 503:
                await asyncio.sleep(0.2)
        assert answer.status == 403
        assert len((await lineage(mirror, start))[0]) == 60
    asked = [call.path for call in hub.requests if call.path.startswith("/api/models/")]
    assert len(asked) == len(set(asked))
