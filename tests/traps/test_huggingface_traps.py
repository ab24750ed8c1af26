"""Traps of the Hugging Face protocol that no other test springs (docs/traps.md has them all)."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from mirror.reply.routing import Handling, route
from mirror.web.server import Server
from tests.hubs.huggingface.conftest import MovableClock
from tests.proxy.flight_fixture import MIB, all_of, noise, source_of, surroundings
from tests.support.liar import Lie
from tests.support.mirror import running_mirror
from tests.support.standin import StandInHub, running_hub
from tests.support.standin.defaults import ALICE, BOB

from .conftest import front_of, house, listening

#: What huggingface_hub waits for the head of an answer and between two reads (HF_HUB_DOWNLOAD_TIMEOUT), in seconds.
PATIENCE = 10
WEIGHTS = "/acme/tiny-bert/resolve/main/model.safetensors"


def weights(hub: StandInHub, repo: str = "acme/tiny-bert") -> bytes:
    held = hub.repo(repo)
    return held.commits[held.head].files["model.safetensors"].data


def asked(hub: StandInHub, origin: str, part: str = "") -> list[str]:
    return [call.raw_path for call in hub.requests if call.origin == origin and part in call.raw_path]


async def test_the_tag_is_never_the_cdns(hub: StandInHub, tmp_path: Path) -> None:
    """Where the repository's page names no digests, HEAD's linked tag counts and the CDN's 64 hex digits never do (trap 3)."""
    repo = hub.repo("acme/tiny-bert")
    file = repo.commits[repo.head].files["model.safetensors"]
    repo.extra["siblings"] = [{"rfilename": path} for path in repo.commits[repo.head].files]
    async with house(tmp_path, hub) as mirror:
        for method in ("HEAD", "GET"):
            answer = await mirror.get(WEIGHTS, method=method)
            assert (answer.status, answer.headers["ETag"]) == (200, f'"{file.sha256}"')
        hub.faults.add("headers", "*/resolve/*/model.safetensors", headers={"X-Linked-ETag": "", "ETag": f'"{file.cdn_etag}"'})
        repo.push({"x.txt": b"x"})
        mirror.pass_time(minutes=2)
        assert (await mirror.get(WEIGHTS, method="HEAD")).status == 502


@pytest.mark.parametrize("host", ["elsewhere.example", "datasets-server.mirror.corp:8080", "mirror.corp.elsewhere.example", ""])
async def test_a_host_that_is_not_ours_gets_nothing(hub: StandInHub, tmp_path: Path, host: str) -> None:
    """A request under another host name - a client's `datasets-server.` guess among them - is 421 and asks nothing (traps 7, 26)."""
    async with house(tmp_path, hub) as mirror:
        for target in ("/info?dataset=acme/reviews", "/parquet?dataset=acme/reviews", "/api/models?limit=2", WEIGHTS):
            assert (await mirror.get(target, Host=host)).status == 421
    assert not asked(hub, "hub")


async def test_links_name_the_public_url_whatever_host_is_sent(hub: StandInHub, tmp_path: Path) -> None:
    """With a public URL configured, no link repeats the Host that a client sends (trap 7)."""
    async with house(tmp_path, hub, public_url="https://mirror.corp") as mirror:
        listing = await mirror.get("/api/models?limit=2", Host="elsewhere.example")
        head = await mirror.get(WEIGHTS, method="HEAD", Host="mirror.corp")
        abroad = await mirror.get(WEIGHTS, method="HEAD", Host="elsewhere.example")
        assert listing.headers["Link"].startswith("<https://mirror.corp/api/models?")
        assert head.headers["Location"].startswith("https://mirror.corp/acme/tiny-bert/resolve/")
        assert "elsewhere" not in str(abroad.headers)
        assert (await mirror.get("/info?dataset=acme/reviews", Host="datasets-server.mirror.corp")).status == 404  # no viewer


async def test_first_bytes_come_while_upstream_is_still_sending(hub: StandInHub, tmp_path: Path) -> None:
    """A client gets head and first bytes from the one transfer that is under way, well inside its patience (trap 8)."""
    hub.faults.add("hang_body", origin="cdn", at=200_000, times=1)
    async with house(tmp_path, hub) as mirror:
        async with mirror.session.get(mirror.url + WEIGHTS) as answer:
            first = await asyncio.wait_for(answer.content.readany(), PATIENCE)
            assert len(asked(hub, "cdn")) == 1
            rest = await answer.read()
        assert first + rest == weights(hub)


async def test_a_cdn_that_hangs_costs_no_client_its_download(hub: StandInHub, tmp_path: Path) -> None:
    """With a CDN that is silent for 12 s the head of the answer leaves in time, and a second attempt upstream completes the body (trap 8)."""
    hub.faults.add("hang_headers", origin="cdn", times=1, seconds=12)
    async with house(tmp_path, hub, read=30) as mirror:
        answer = await asyncio.wait_for(mirror.session.get(mirror.url + WEIGHTS), PATIENCE)
        got = bytearray()
        while piece := await asyncio.wait_for(answer.content.readany(), PATIENCE):
            got += piece
        assert (answer.status, bytes(got)) == (200, weights(hub))


async def test_a_page_never_waits_longer_than_a_client(hub: StandInHub, tmp_path: Path) -> None:
    """`model_info` has no time limit of its own: with a hub that hangs it gets the last known page, or 503, in time (trap 12)."""
    async with house(tmp_path, hub) as mirror:
        known = await mirror.get("/api/models/acme/tiny-bert")
        mirror.pass_time(minutes=2)
        hub.faults.add("hang_headers", "/api/*", origin="hub")
        both = asyncio.gather(mirror.get("/api/models/acme/tiny-bert"), mirror.get("/api/models/tinybert"))
        warm, cold = await asyncio.wait_for(both, PATIENCE)
        assert (warm.status, warm.body) == (200, known.body)
        assert (cold.status, cold.headers["Content-Type"]) == (503, "application/problem+json")
        hub.faults.clear()


class Broken:
    """A dialect with a bug."""

    name, mount, hosts = "broken", "", ()

    def __init__(self) -> None:
        self.routes = (route("all", "GET", "/.*", Handling.FACTS, self.handle),)

    async def handle(self, _: object) -> None:
        raise ZeroDivisionError

    refuse = problem = unknown = handle


async def test_a_bug_is_answered(tmp_path: Path) -> None:
    """What nobody foresaw is a problem body with the request's id on a connection that lives, never a dropped one (trap 13)."""
    async with listening(Server(front_of([Broken()], MovableClock()))) as url, aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.get(url + "/x") as answer:
                assert answer.status == 503
                assert answer.headers["X-Request-Id"] in json.loads(await answer.read())["detail"]
                assert answer.headers.get("Connection") != "close"


async def test_an_idle_connection_outlives_the_clients(hub: StandInHub, tmp_path: Path) -> None:
    """A connection that was idle for longer than httpx keeps one (5 s) still answers: the client closes first, never we (trap 13)."""
    async with house(tmp_path, hub) as mirror:
        parts = urlsplit(mirror.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for pause in (5.5, 0):
            writer.write(f"GET /api/telemetry/x HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
            await asyncio.sleep(pause)
        writer.close()


def test_a_restart_waits_for_downloads(tmp_path: Path) -> None:
    """SIGTERM in the middle of a download: the client gets the whole file before the process ends (trap 13)."""

    async def download(url: str, stop) -> bytes:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            first = await answer.content.readany()
            stopped = asyncio.create_task(asyncio.to_thread(stop))
            rest = await answer.read()
        assert await stopped == 0
        return first + rest

    with running_hub() as hub:
        data = bytes(range(256)) * 32_000
        hub.add_repo("model", "acme/long", {"config.json": b"{}"}, {"model.safetensors": data})
        hub.faults.add("throttle", origin="cdn", rate=6_000_000)
        with running_mirror(tmp_path, hub) as mirror:
            assert asyncio.run(download(f"{mirror.url}/acme/long/resolve/main/model.safetensors", mirror.stop)) == data


async def test_a_query_is_part_of_a_page_and_not_of_a_file(hub: StandInHub, tmp_path: Path) -> None:
    """Pages differ by query, each kept for itself; `?download=true` names the same file, which is not fetched twice (trap 14)."""
    async with house(tmp_path, hub) as mirror:
        for _ in range(2):
            for name in ("downloads", "likes", "gated"):
                page = await mirror.get(f"/api/models/acme/tiny-bert?expand={name}")
                assert set(json.loads(page.body)) == {"_id", "id", name}
            plain = json.loads((await mirror.get("/api/models/acme/tiny-bert/tree/main")).body)
            expanded = json.loads((await mirror.get("/api/models/acme/tiny-bert/tree/main?expand=true")).body)
            assert ("lastCommit" in plain[0], "lastCommit" in expanded[0]) == (False, True)
        bodies = {(await mirror.get(WEIGHTS + query)).body for query in ("", "?download=true", "?x=1&download=true")}
        assert bodies == {weights(hub)}
        assert len(asked(hub, "cdn")) == 1


async def test_get_follows_the_commit_that_head_saw(hub: StandInHub, tmp_path: Path) -> None:
    """HEAD says where the very commit is, so that a GET after the branch moved has bytes that fit HEAD's entity tag (trap 15)."""
    repo = hub.repo("acme/tiny-bert")
    old = repo.commits[repo.head].files["config.json"].data
    async with house(tmp_path, hub) as mirror:
        head = await mirror.get("/acme/tiny-bert/resolve/main/config.json", method="HEAD")
        repo.push({"config.json": old[::-1]})
        mirror.pass_time(minutes=10)
        where = head.headers["Location"]
        assert where.startswith(mirror.url)
        got = await mirror.get(where.removeprefix(mirror.url))
        assert (got.body, got.headers["ETag"], got.headers["X-Repo-Commit"]) == (old, head.headers["ETag"], head.headers["X-Repo-Commit"])
        now = await mirror.get("/acme/tiny-bert/resolve/main/config.json")
        assert (now.body, "Location" in now.headers) == (old[::-1], False)


async def test_a_right_ends_when_the_name_changes_hands(hub: StandInHub, tmp_path: Path) -> None:
    """Who could read the gated repository that had a name cannot read, from the cache, the one that has it now (trap 16)."""
    target = "/acme/gated-auto/resolve/main/model.safetensors"
    async with house(tmp_path, hub) as mirror:
        assert (await mirror.get(target, ALICE)).status == 200
        hub.add_repo("model", "acme/gated-auto", {"config.json": b"{}"}, {"model.safetensors": b"of a stranger" * 9000}, gated="auto", tokens_allowed=[BOB])
        mirror.pass_time(minutes=2)
        assert (await mirror.get(target, BOB)).body.startswith(b"of a stranger")
        assert (await mirror.get(target, ALICE)).status == 403


CLIENT = """
import sys
from huggingface_hub import get_hf_file_metadata, hf_hub_url
print(get_hf_file_metadata(hf_hub_url("acme/tiny-bert", "config.json")).location)
"""


async def test_a_real_client_takes_the_pinned_url(hub: StandInHub, tmp_path: Path) -> None:
    """huggingface_hub goes on to the URL with the commit, although the answer to its HEAD was no redirect (trap 15)."""
    async with house(tmp_path / "m", hub) as mirror:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", CLIENT, stdout=asyncio.subprocess.PIPE,
            env={"PATH": "/usr/bin:/bin", "HF_ENDPOINT": mirror.url, "HF_HOME": str(tmp_path / "hf"), "HOME": str(tmp_path)},
        )  # fmt: skip
        out, _ = await process.communicate()
        assert out.decode().strip() == f"{mirror.url}/acme/tiny-bert/resolve/{hub.repo('acme/tiny-bert').head}/config.json"


@pytest.mark.parametrize("accept", ["application/vnd.xet-fileinfo+json, */*", "application/json", "text/html"])
async def test_accept_does_not_choose_another_body(hub: StandInHub, tmp_path: Path, accept: str) -> None:
    """Whatever a client accepts, a file is its bytes: cold, warm, and for the next client (trap 22)."""
    async with house(tmp_path, hub) as mirror:
        for wanted in (accept, accept, "*/*"):
            answer = await mirror.get(WEIGHTS, Accept=wanted)
            assert (answer.status, answer.body) == (200, weights(hub))
    assert not [call for call in hub.requests if "xet" in call.headers.get("Accept", "")]


async def test_a_manifest_is_kept_for_each_class_of_agent(hub: StandInHub, tmp_path: Path) -> None:
    """`/v2/` manifests differ by User-Agent at the hub: `ggufFile` is given to llama.cpp alone, whoever asked before (trap 22)."""
    async with house(tmp_path, hub) as mirror:
        for agent in ("llama-cpp", "ollama/0.34.0", "curl/8") * 2:
            answer = await mirror.get("/v2/quantbarn/solid-7b-merge-GGUF/manifests/Q4_K_M", User_Agent=agent)
            assert answer.status == 200
            assert ("ggufFile" in json.loads(answer.body)) == (agent == "llama-cpp")
    assert len(asked(hub, "hub", "/manifests/")) == 3


@pytest.mark.parametrize("target", ["/api/buckets/acme/b/events", "/api/jobs/acme/1/logs"])
async def test_endless_streams_are_refused_at_once(hub: StandInHub, tmp_path: Path, target: str) -> None:
    """Streams of what is not mirrored have no end to wait for: 403 with a sentence, and the hub is not asked (trap 27)."""
    async with house(tmp_path, hub) as mirror:
        answer = await asyncio.wait_for(mirror.get(target, Accept="text/event-stream"), PATIENCE)
        assert answer.status == 403
    assert not asked(hub, "hub", "logs") + asked(hub, "hub", "events")


async def test_lfs_batch_is_answered_as_lfs(hub: StandInHub, tmp_path: Path) -> None:
    """The batch call of git-lfs is a POST that reads: its links lead here, and an unknown object has an error of its own (trap 28)."""
    async with house(tmp_path, hub) as mirror:
        repo = hub.repo("acme/tiny-bert")
        oids = [repo.commits[repo.head].files["model.safetensors"].sha256, "0" * 64]
        asking = {"operation": "download", "objects": [{"oid": oid, "size": 1} for oid in oids]}
        answer = await mirror.post("/acme/tiny-bert.git/info/lfs/objects/batch", json=asking)
        assert (answer.status, answer.headers["Content-Type"]) == (200, "application/vnd.git-lfs+json")
        known, unknown = json.loads(answer.body)["objects"]
        assert known["actions"]["download"]["href"].startswith(f"{mirror.url}/acme/tiny-bert/resolve/{repo.head}/")
        assert unknown["error"]["code"] == 404
    assert not asked(hub, "hub", "/info/lfs/")


@pytest.mark.parametrize("wanted", ["bytes=0-100000", "bytes=-8", "bytes=8-99"])
async def test_a_range_of_a_cold_file_is_that_range(hub: StandInHub, tmp_path: Path, wanted: str) -> None:
    """A header or footer read of a file that is not here gives its bytes, and the file is whole afterwards (trap 29)."""
    data = weights(hub)
    first, _, last = wanted.removeprefix("bytes=").partition("-")
    expected = data[int(first) : int(last) + 1] if first else data[-int(last) :]
    async with house(tmp_path, hub) as mirror:
        part = await mirror.get(WEIGHTS, Range=wanted)
        assert (part.status, part.body) == (206, expected)
        assert part.headers["Content-Range"].endswith(f"/{len(data)}")
        assert (await mirror.get(WEIGHTS)).body == data


async def test_another_range_is_never_spliced_in(tmp_path: Path) -> None:
    """A server that answers a resumption with another range, and says so, is asked again: no digest would notice the splice (trap 29)."""
    data = noise(5 * MIB)
    async with surroundings(tmp_path, data) as here:
        here.liar.lies += [Lie(cut=2 * MIB), Lie(data=data[-7:] + data[:-7], shift=-7)]
        assert await all_of(await here.join(source_of(data, declared=None))) == data


OURS = re.compile(r"ratelimit.*|set-cookie|x-hf-warning|via|x-cache|x-amz-.*|x-powered-by|link", re.IGNORECASE)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/api/models/acme/tiny-bert", 200), ("/api/models/acme/tiny-bert/tree/main", 200), ("/api/models/acme/tiny-bert/refs", 200),
        ("/api/models/acme/tiny-bert/commits/main", 200), (WEIGHTS, 200), ("/acme/tiny-bert/resolve/main/absent.txt", 404),
        ("/acme/gated-auto/resolve/main/config.json", 401), ("/acme/secret/resolve/main/config.json", 401), ("/api/whoami-v2", 200),
    ],
)  # fmt: skip
async def test_no_answer_carries_upstreams_own_headers(hub: StandInHub, tmp_path: Path, target: str, status: int) -> None:
    """Quota, cookies, advice and cache headers of the hub are for the mirror alone: they are on no page, file or refusal (trap 30)."""
    async with house(tmp_path, hub) as mirror:
        for _ in range(2):
            answer = await mirror.get(target, ALICE if "whoami" in target else None)
            assert answer.status == status
            assert not [name for name in answer.headers if OURS.fullmatch(name)]


async def test_a_quota_that_is_used_up_is_ours_to_wait_for(hub: StandInHub, tmp_path: Path) -> None:
    """The hub's 429 reaches no client: a known page is served, an unknown one is 503 with Retry-After (trap 30)."""
    async with house(tmp_path, hub) as mirror:
        assert (await mirror.get("/api/models/acme/tiny-bert")).status == 200
        mirror.pass_time(minutes=2)
        hub.faults.add("rate_limited", "/api/*")
        assert (await mirror.get("/api/models/acme/tiny-bert")).status == 200
        cold = await mirror.get("/api/models/tinybert")
        assert cold.status == 503
        assert cold.headers["Retry-After"].isdigit()
        assert "RateLimit" not in cold.headers
