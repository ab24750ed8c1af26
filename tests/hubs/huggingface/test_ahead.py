"""What is asked beside the page of a repository that nobody has asked for: it saves round trips and promises nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mirror.core.actor import Actor
from mirror.core.nouns import Kind
from mirror.hubs.huggingface.paths import parse_repo
from tests.support.standin.hub import StandInHub

from .conftest import mirror_of

RULES = 'version: 1\nrules:\n  - {id: line, when: {ancestor: {any: ["globex/*"]}}, effect: deny, on_unknown: allow}\n'
FILES = {"README.md": b"# A model\n", "config.json": b"{}"}
WEIGHTS = b"weights of some length " * 9_000


@pytest.fixture
async def hub():
    async with StandInHub() as running:
        yield running


def add(hub: StandInHub, name: str, *parents: str, **options):
    tags = [f"base_model:finetune:{parent}" for parent in parents]
    return hub.add_repo("model", name, FILES, {"model.safetensors": name.encode() + WEIGHTS}, tags=tags, **options)


async def test_a_first_file_goes_from_its_page_straight_to_its_bytes(hub: StandInHub, tmp_path: Path) -> None:
    """One HEAD beside the page is leave and address in one: the hub is not asked for the bytes, only told that they were (its count)."""
    add(hub, "acme/lone")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        answer = await mirror.get("/acme/lone/resolve/main/model.safetensors")
        assert (answer.status, answer.body) == (200, b"acme/lone" + WEIGHTS)
        again = await mirror.get("/acme/lone/resolve/main/model.safetensors")
        assert (again.status, again.body) == (200, answer.body)
        async with asyncio.timeout(20):
            while not [call for call in hub.requests if "X-HF-Download-Counter" in call.headers]:
                await asyncio.sleep(0.01)
    seen = [(call.origin, call.method, "X-HF-Download-Counter" in call.headers) for call in hub.requests if "/raw/" not in call.path]
    assert sorted(seen) == [("cdn", "GET", False), ("hub", "GET", False), ("hub", "HEAD", False), ("hub", "HEAD", True)]
    assert not [call for call in hub.requests if call.origin == "hub" and "/raw/" in call.path and "/main/" not in call.path]


async def test_what_is_refused_has_fetched_no_byte(hub: StandInHub, tmp_path: Path) -> None:
    """A model whose line is denied was asked for ahead too: nothing of its files came, and nothing lies in the store."""
    add(hub, "globex/root")
    add(hub, "acme/tuned", "globex/root")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        path = "/acme/tuned/resolve/main/model.safetensors"
        assert [(await mirror.get(path)).status, (await mirror.get(path, method="HEAD")).status] == [403, 403]
    assert hub.requests.where(method="HEAD", path="/acme/tuned/*")
    assert not hub.requests.where(origin="cdn") and not hub.requests.where(method="GET", path="*/resolve/*")
    assert not [one for one in (tmp_path / "m" / "store").rglob("*") if one.is_file() and one.stat().st_size > 1000]


async def test_what_is_refused_by_name_is_not_asked_for_ahead(hub: StandInHub, tmp_path: Path) -> None:
    """Of a repository that its name or its publisher refuses, the hub hears no more than the question for its page."""
    add(hub, "acme/lone")
    async with mirror_of(hub, tmp_path / "m", 'version: 1\nrules:\n  - {id: no, when: {publisher: ["acme"]}, effect: deny}\n') as mirror:
        assert (await mirror.get("/acme/lone/resolve/main/model.safetensors")).status == 403
    assert [call.method for call in hub.requests if "acme/lone" in call.path and not call.path.startswith("/api/")] == []


async def test_an_answer_about_another_commit_is_as_if_nobody_had_asked(hub: StandInHub, tmp_path: Path) -> None:
    """A push between the two answers: page and bytes are of the new commit, its card is read, and leave is asked for anew."""
    add(hub, "globex/root")
    repo = add(hub, "acme/moving")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        await mirror.hub.foresee(parse_repo("acme/moving", Kind.MODEL), "main", "model.safetensors", Actor("somebody"))
        async with asyncio.timeout(20):
            while len([call for call in hub.requests if call.status]) < 3:  # HEAD, and the two small files
                await asyncio.sleep(0.01)
        repo.push({"config.json": b'{"_name_or_path": "globex/root"}'})
        assert (await mirror.get("/acme/moving/resolve/main/model.safetensors")).status == 403
    assert hub.requests.where(method="HEAD", path=f"*/resolve/{repo.head}/*")
    assert hub.requests.where(method="GET", path=f"*/raw/{repo.head}/config.json")


async def test_an_address_that_is_refused_is_asked_for_anew(hub: StandInHub, tmp_path: Path) -> None:
    """The CDN refuses the address that HEAD gave: the flight asks the hub, and the client gets the whole file."""
    add(hub, "acme/lone")
    refused = hub.faults.add("status", "*", origin="cdn", status=403, times=1)
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        answer = await mirror.get("/acme/lone/resolve/main/model.safetensors")
    assert hub.faults.hits(refused) >= 1
    assert (answer.status, answer.body) == (200, b"acme/lone" + WEIGHTS)


async def test_a_closed_repository_is_still_asked_for_in_the_callers_own_name(hub: StandInHub, tmp_path: Path) -> None:
    """What anybody was told beside the page of a gated repository is nobody's right (P5)."""
    add(hub, "acme/gated", gated="manual")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        assert (await mirror.get("/acme/gated/resolve/main/model.safetensors")).status in (401, 403)
        assert not hub.requests.where(origin="cdn")


async def test_bytes_are_given_when_their_page_is_written_down(hub: StandInHub, tmp_path: Path) -> None:
    """While the index takes no writes no answer with bytes begins; with it the page and the leave to read it stay (P8)."""
    add(hub, "acme/lone")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        with closing(sqlite3.connect(tmp_path / "m" / "index.sqlite", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            begun = asyncio.create_task(mirror.session.get(mirror.url + "/acme/lone/resolve/main/model.safetensors"))
            async with asyncio.timeout(20):
                while not hub.requests.where(origin="cdn"):
                    await asyncio.sleep(0.01)
            await asyncio.wait({begun}, timeout=0.5)
            assert not begun.done()
            other.execute("ROLLBACK")
        async with await begun as answer:
            assert answer.status == 200
            kept = sqlite3.connect(tmp_path / "m" / "index.sqlite").execute("SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM grants)").fetchone()
            assert all(kept), kept
            await answer.read()


async def test_without_a_record_nothing_that_was_sought_is_given(hub: StandInHub, tmp_path: Path) -> None:
    """The bytes are sought while the decision is being recorded: where that fails the answer is 503 with none of them (P6)."""
    add(hub, "acme/lone")
    async with mirror_of(hub, tmp_path / "m", RULES) as mirror:
        await mirror.gateway.recorder._ledger.close()
        answer = await mirror.get("/acme/lone/resolve/main/model.safetensors")
    assert (answer.status, answer.headers["Content-Type"]) == (503, "application/problem+json")
    assert len(answer.body) < 1000
