"""Traps of the package index protocol that no other test springs (docs/traps.md has them all)."""

from __future__ import annotations

import asyncio
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mirror.core.nouns import PYPI, Kind, Project
from mirror.lists.loading import load_catalogue
from tests.hubs.huggingface.conftest import Mirror
from tests.support.clients import pip, uv
from tests.support.standin import StandInIndex, running_index
from tests.support.standin.defaults import CANARY

from .conftest import house

JSON = "application/vnd.pypi.simple.v1+json"
DENY = "version: 1\nrules:\n  - {id: no-evil, when: {artifact: ['pkg:pypi/evil-*']}, effect: deny, legal: true}\n"


async def files(mirror: Mirror, project: str) -> dict[str, dict[str, Any]]:
    """What the page lists, by file name; the URL without the mirror's origin."""
    page = await mirror.get(f"/pypi/simple/{project}/", Accept=JSON)
    assert page.status == 200, page.body
    listed = json.loads(page.body)["files"]
    return {file["filename"]: file | {"url": file["url"].removeprefix(mirror.url)} for file in listed}


async def wheel(mirror: Mirror, project: str) -> dict[str, Any]:
    return next(file for name, file in (await files(mirror, project)).items() if name.endswith(".whl"))


@pytest.mark.parametrize("accept", ["identity", "gzip, deflate", "gzip, deflate, zstd", "*"])
async def test_files_are_never_coded(index: StandInIndex, tmp_path: Path, accept: str) -> None:
    """A file and its metadata are upstream's bytes with their length, whatever coding the client accepts and upstream offers (1.2)."""
    index.faults.add("gzip", "/packages/*.whl", origin="files", times=1)
    async with house(tmp_path, index=index) as mirror:
        file = await wheel(mirror, "acme-app")
        got = await mirror.get(file["url"], Accept_Encoding=accept)
        assert (hashlib.sha256(got.body).hexdigest(), len(got.body)) == (file["hashes"]["sha256"], file["size"])
        assert "Content-Encoding" not in got.headers
        said = await mirror.get(file["url"] + ".metadata", Accept_Encoding=accept)
        assert hashlib.sha256(said.body).hexdigest() == file["core-metadata"]["sha256"]
    sent = {call.headers["Accept-Encoding"] for call in index.requests if call.origin == "files" and call.path.endswith(".whl")}
    assert sent == {"identity"}


async def test_a_wheel_without_metadata_can_be_read_in_parts(index: StandInIndex, tmp_path: Path) -> None:
    """uv and pip's fast-deps: HEAD says length and that ranges work, and the range of a cold wheel is 206 (1.2)."""
    async with house(tmp_path, index=index) as mirror:
        file = await wheel(mirror, "acme-old-style")
        head = await mirror.get(file["url"], method="HEAD")
        assert (head.status, head.headers["Accept-Ranges"], head.headers["Content-Length"]) == (200, "bytes", str(file["size"]))
        tail = await mirror.get(file["url"], Range="bytes=-100")
        assert (tail.status, len(tail.body)) == (206, 100)


async def test_both_forms_of_a_page_are_kept_apart(index: StandInIndex, tmp_path: Path) -> None:
    """One URL, several bodies: JSON and HTML asked for in turn come each as themselves, with `Vary` and tags of their own (1.2)."""
    async with house(tmp_path, index=index) as mirror:
        tags = set()
        for _ in range(2):
            for accept, kind, start in ((JSON, JSON, b"{"), ("text/html", "text/html; charset=utf-8", b"<!DOCTYPE html>")):
                page = await mirror.get("/pypi/simple/acme-lib/", Accept=accept)
                assert (page.headers["Content-Type"], page.body.startswith(start)) == (kind, True)
                assert "Accept" in page.headers["Vary"].split(", ")
                tags.add(page.headers["ETag"])
        assert len(tags) == 2


@pytest.mark.parametrize("fault", ["flip", "short"])
@pytest.mark.parametrize("suffix", ["", ".metadata"])
async def test_wrong_bytes_are_neither_served_nor_kept(index: StandInIndex, tmp_path: Path, fault: str, suffix: str) -> None:
    """One wrong byte, or a body that is short and looks whole: no client completes it, and the next fetch is clean (1.2)."""
    number = index.faults.add(fault, "/packages/*", origin="files", at=50)
    async with house(tmp_path, index=index) as mirror:
        file = await wheel(mirror, "acme-app")
        assert (await mirror.get(file["url"] + suffix)).status == 502
        index.faults.remove(number)
        good = await mirror.get(file["url"] + suffix)
        assert hashlib.sha256(good.body).hexdigest() == (file["core-metadata"] if suffix else file["hashes"])["sha256"]


async def test_a_burst_of_errors_is_not_passed_on(index: StandInIndex, tmp_path: Path) -> None:
    """Clients retry a 5xx for 8 to 12 seconds: the mirror retries for them, and they see one 200 (1.2)."""
    index.faults.add("status", "/packages/*", origin="files", status=503, times=2)
    index.faults.add("status", "/simple/*", origin="index", status=502, times=1)
    async with house(tmp_path, index=index) as mirror:
        file = await wheel(mirror, "acme-app")
        assert (await mirror.get(file["url"])).status == 200


async def test_a_cut_download_can_be_resumed_after_a_restart(index: StandInIndex, tmp_path: Path) -> None:
    """pip resumes by `If-Range` with the entity tag it had: the tag is strong and the same on another day, cold or warm (1.2)."""
    async with house(tmp_path / "a", index=index) as mirror:
        file = await wheel(mirror, "acme-app")
        cold, warm = await mirror.get(file["url"]), await mirror.get(file["url"])
        assert cold.headers["ETag"] == warm.headers["ETag"] == f'"{file["hashes"]["sha256"]}"'
    async with house(tmp_path / "b", index=index) as mirror:
        rest = await mirror.get(file["url"], Range="bytes=100-", If_Range=cold.headers["ETag"])
        assert (rest.status, rest.body) == (206, cold.body[100:])
        other = await mirror.get(file["url"], Range="bytes=100-", If_Range='"another"')
        assert (other.status, other.body) == (200, cold.body)


async def test_the_user_agent_is_on_the_record(index: StandInIndex, tmp_path: Path) -> None:
    """What pip and uv say of themselves - CI or person, Python, system - stands beside each decision (1.2)."""
    agent = 'pip/26.3 {"ci":true,"installer":{"name":"pip","version":"26.3"},"python":"3.11.7"}'
    async with house(tmp_path, index=index, policy=DENY) as mirror:
        file = await wheel(mirror, "evil-thing")
        assert (await mirror.get(file["url"], User_Agent=agent)).status == 451
        (personal,) = (mirror.folder / "ledger").glob("personal-*.jsonl")
        assert json.dumps(agent) in json.dumps([json.loads(line)["part"] for line in personal.read_text().splitlines()])


async def test_a_page_that_hides_nothing_is_no_event(index: StandInIndex, tmp_path: Path) -> None:
    """pip asks for its own page on each run; pages where nothing is left out leave no line in the ledger (1.2)."""
    index.add_release("pip", "26.3")
    async with house(tmp_path, index=index, policy=DENY) as mirror:
        for _ in range(3):
            await files(mirror, "pip")
        assert not mirror.events("steered", "allowed", "refused")
        await files(mirror, "evil-thing")
        assert len(mirror.events("steered")) == 1


async def test_a_refusal_is_no_status_that_clients_mistake(index: StandInIndex, tmp_path: Path) -> None:
    """401 asks for a password, 404 sends uv to the next index, 5xx is retried: a policy refusal is none of them (1.3)."""
    async with house(tmp_path, index=index, policy=DENY) as mirror:
        for name, file in (await files(mirror, "evil-thing")).items():
            for suffix in ("", ".metadata") if name.endswith(".whl") else ("",):
                refused = await mirror.get(file["url"] + suffix)
                assert refused.status == 451
                assert refused.headers["Content-Type"] == "application/problem+json"
                assert "WWW-Authenticate" not in refused.headers
                assert CANARY not in refused.body
        assert not [call for call in index.requests if call.origin == "files"]


async def test_the_reason_phrase_is_one_short_line(index: StandInIndex, tmp_path: Path) -> None:
    """Whatever a rule's author wrote, pip gets one latin-1 line under 200 characters that ends in the decision's URL (1.3)."""
    rules = [{"id": "wordy", "when": {"artifact": ["pkg:pypi/evil-*"]}, "effect": "deny", "reason": "is blocked\nsince 制裁 " + "for reasons " * 40}]
    async with house(tmp_path, index=index, policy=json.dumps({"version": 1, "rules": rules})) as mirror:
        file = await wheel(mirror, "evil-thing")
        async with mirror.session.get(mirror.url + file["url"]) as answer:
            assert answer.reason.startswith("Blocked by policy: rule 'wordy', evil-thing")
            assert answer.reason.endswith(f"{mirror.url}/-/blocked/{answer.headers['X-Mirror-Decision']}")
            assert (len(answer.reason) < 200, answer.reason.isascii(), answer.reason.isprintable()) == (True, True, True)
            assert answer.status == 403


async def test_an_index_that_is_down_is_503_for_page_and_file(index: StandInIndex, tmp_path: Path) -> None:
    """Nothing cached and upstream gone: 503 with Retry-After and a problem body, for a page and for a file; never 404 (1.3)."""
    async with house(tmp_path, index=index) as mirror:
        file = await wheel(mirror, "acme-app")
        await index.stop()
        for target in (file["url"], "/pypi/simple/acme-lib/", "/pypi/pypi/acme-lib/json"):
            down = await mirror.get(target)
            assert (down.status, down.headers["Content-Type"]) == (503, "application/problem+json")
            assert int(down.headers["Retry-After"]) >= 1


async def test_a_cooldown_says_until_when(index: StandInIndex, tmp_path: Path) -> None:
    """A release inside the cooldown is marked on the page and refused at its file, both with the day it will be available (1.3)."""
    rules = "version: 1\nrules:\n  - {id: cool-off, when: {ecosystem: pypi, age_days: {lt: 7}}, effect: quarantine}\n"
    async with house(tmp_path, index=index, policy=rules) as mirror:
        shown = await files(mirror, "acme-lib")
        new = shown["acme_lib-2.1-py3-none-any.whl"]
        day = (datetime.fromisoformat(new["upload-time"]).astimezone(UTC) + timedelta(days=7)).date().isoformat()
        assert "cool-off" in new["yanked"]
        assert shown["acme_lib-1.1-py3-none-any.whl"]["yanked"] is False
        for suffix in ("", ".metadata"):
            held = await mirror.get(new["url"] + suffix)
            assert held.status == 403
            assert day in json.loads(held.body)["detail"]
        mirror.pass_time(days=8)
        assert (await mirror.get(new["url"])).status == 200


async def test_our_mark_is_not_upstreams_yank(index: StandInIndex, tmp_path: Path) -> None:
    """A version that policy marks stays un-yanked as a fact: a rule on `yanked` reaches what upstream yanked and nothing else (1.3)."""
    rules = (
        "version: 1\nrules:\n  - {id: old, when: {artifact: ['pkg:pypi/acme-lib@1.1']}, effect: deny}\n"
        "  - {id: yanks, when: {ecosystem: pypi, yanked: true}, effect: deny}\n"
    )
    async with house(tmp_path, index=index, policy=rules) as mirror:
        shown = await files(mirror, "acme-lib")
        said = {version: await mirror.get(shown[f"acme_lib-{version}-py3-none-any.whl"]["url"]) for version in ("1.0", "1.1", "2.0")}
        assert [said[version].status for version in said] == [200, 403, 403]
        assert [json.loads(said[version].body)["rule"] for version in ("1.1", "2.0")] == ["old", "yanks"]


STRICT = "version: 1\nrules:\n  - {id: no-evil, when: {artifact: ['pkg:pypi/evil-*']}, effect: deny, legal: true, reason: 'sanctioned'}\n"


@pytest.mark.proves("Denied project, strict page (`denied_project: page`) and a second index", "uv", "refused")
@pytest.mark.parametrize("strategy", ["first-index", "unsafe-best-match"])
async def test_a_strict_page_stops_uv_before_the_next_index(index: StandInIndex, tmp_path: Path, strategy: str) -> None:
    """With `denied_project: page` and a legal rule uv prints the sentence and takes nothing from its second index, newer or not (1.4)."""
    with running_index() as second:
        second.add_release("evil-thing", "2.0")
        async with house(tmp_path / "m", index=index, policy=STRICT, denied_project="page") as mirror:
            said = await asyncio.to_thread(
                uv, second.simple_url, tmp_path, "pip", "install", "--target", str(tmp_path / "site"), "--index", f"{mirror.url}/pypi/simple/",
                "evil-thing", UV_INDEX_STRATEGY=strategy,
            )  # fmt: skip
        assert said.code != 0
        assert "no-evil" in said.text
        assert not list(tmp_path.glob("site/evil*"))
        assert not [call for call in second.requests if call.origin == "files"]


async def test_a_second_index_is_a_way_round(index: StandInIndex, tmp_path: Path) -> None:
    """pip merges indexes, so what is refused here comes from elsewhere: the reason why `mirror env` takes the variable away (1.4)."""
    with running_index() as second:
        async with house(tmp_path / "m", index=index, policy=STRICT) as mirror:
            url = f"{mirror.url}/pypi/simple/"
            arguments = ("install", "--target", str(tmp_path / "site"), "evil-thing")
            alone = await asyncio.to_thread(pip, url, tmp_path, *arguments)
            both = await asyncio.to_thread(pip, url, tmp_path, *arguments, PIP_EXTRA_INDEX_URL=second.simple_url)
    assert (alone.code != 0, "no-evil" in alone.text) == (True, True)
    assert both.code == 0, both.text


@pytest.mark.parametrize(
    ("name", "publisher"),
    [("deepseek", "deskpai"), ("kasperskytip", "clienthold"), ("yandex-hw-infra-sdk", "yandex-attributed"), ("yandex-whatever", None), ("qwen-whatever", None)],
)
def test_a_name_is_no_evidence_of_its_publisher(name: str, publisher: str | None) -> None:
    """A package that carries a known publisher's name is attributed by an entry for that very name, or not at all (1.4)."""
    found = load_catalogue().publisher_of(Project(PYPI, Kind.PACKAGE, name))
    assert (found[0].id if found else None) == publisher
