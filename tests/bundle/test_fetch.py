"""Fetching to nowhere, from a server on loopback that misbehaves in ways in which a mirror should not."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from aiohttp import web

from mirror.bundle.fetch import Address, Client, Declined, session
from mirror.bundle.plan import State, WantedFile
from mirror.bundle.requirements import Requirements
from mirror.bundle.resolve import Closure, Unresolved
from mirror.bundle.sync import Manner, Sync
from mirror.cli.sync_display import Display
from mirror.core.nouns import Artifact, Kind, Project

DATA = bytes(range(256)) * 400
FILE = WantedFile(
    Artifact(Project("pypi", Kind.PACKAGE, "acme-lib"), "1.0", "f.whl"), "/f.whl", len(DATA), hashlib.sha256(DATA).hexdigest(), hub=False
)


class Server:
    """Answers `script` in turn, the last one for ever; HEAD says that the file is stored."""

    def __init__(self) -> None:
        self.script: list[str] = []
        self.asked: list[web.Request] = []
        self.base = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(DATA)), "Cache-Status": "entrepot; hit"})
        self.asked.append(request)
        how = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if how.isdecimal():
            return web.json_response({"detail": "not now"}, status=int(how), headers={"Retry-After": "0"})
        if how.endswith("NotFound"):
            return web.json_response({"error": "no"}, status=401, headers={"X-Error-Code": how})
        start = int(request.headers.get("Range", "bytes=0-")[6:-1])
        if how == "flipped":
            return web.Response(body=b"\xff" + DATA[1:])
        if how == "changed":
            start = 0
        shift = 7 if how == "shifted" else 0
        ranged = {"Content-Range": f"bytes {start + shift}-{len(DATA) - 1}/{len(DATA)}"} if start else {}
        response = web.StreamResponse(status=206 if start else 200, headers={"ETag": '"e"', **ranged})
        response.content_length = len(DATA) - start - shift
        await response.prepare(request)
        await response.write(DATA[start + shift : start + 30_000 if how == "cut" else None])
        if how == "cut":
            assert request.transport is not None
            request.transport.close()
        return response


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    runner = web.ServerRunner(web.Server(made.answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def fetched(server: Server, *script: str, retries: int = 1, file: WantedFile = FILE) -> int:
    """How many bytes were counted as having come, after the file was whole."""
    server.script = list(script)
    count = 0

    def came(more: int) -> None:
        nonlocal count
        count += more

    async with session(2) as connections:
        found = await Client(connections, Address(server.base, server.base), "hf_secret", retries).fetch(file, came)
    assert (found.size, found.here) == (len(DATA), True)
    return count


async def test_a_cut_file_goes_on_from_where_it_stands(server: Server):
    """After each cut only the rest is asked for, if it is still the same file; progress is no failed attempt."""
    assert await fetched(server, "cut", "cut", "cut", "whole", retries=0) == len(DATA)
    assert [request.headers.get("Range") for request in server.asked] == [None, "bytes=30000-", "bytes=60000-", "bytes=90000-"]
    assert server.asked[1].headers["If-Range"] == '"e"'


async def test_a_file_that_changed_begins_anew(server: Server):
    """A 200 for a range, and a range that was not asked for, are not appended to what came: every byte counts once."""
    assert await fetched(server, "cut", "changed", retries=0) == len(DATA)
    assert await fetched(server, "cut", "shifted", "whole") == len(DATA)


async def test_wrong_bytes_are_told(server: Server):
    """Bytes that are not those of the lock are a failure, whatever their length."""
    with pytest.raises(Declined, match="as the lock says") as caught:
        await fetched(server, "flipped")
    assert caught.value.state is State.FAILED


async def test_how_often_it_is_tried(server: Server):
    """503 is tried again as often as is allowed, 429 until the turn comes, 403 never."""
    assert await fetched(server, "503", "whole", retries=1) == len(DATA)
    assert await fetched(server, *["429"] * 5, "whole", retries=0) == len(DATA)
    for script, state, tries in ((("503",), State.FAILED, 3), (("403",), State.WITHHELD, 1), (("404",), State.MISSING, 1)):
        server.asked.clear()
        with pytest.raises(Declined, match="not now") as caught:
            await fetched(server, *script, retries=2)
        assert (caught.value.state, len(server.asked)) == (state, tries)


async def test_what_is_not_there_is_said_plainly(server: Server):
    """The hub's own word for what does not exist is told as such, whatever the status: it answers 401 for a repository that nobody has."""
    for code, said in (("RepoNotFound", "has no such repository"), ("RevisionNotFound", "no such revision"), ("EntryNotFound", "no such file")):
        with pytest.raises(Declined, match=said) as caught:
            await fetched(server, code, retries=0)
        assert caught.value.state is State.MISSING


async def test_a_resolver_is_asked_again_when_the_mirror_is_ready(server: Server):
    """What a resolver could not get because the mirror was busy is waited for, and the closure resolved again; a no for good ends it, and so does a busy mirror in the end."""
    wheel = {"url": f"{server.base}/f.whl", "size": len(DATA), "hashes": {"sha256": FILE.sha256}}
    lock = {"packages": [{"name": "acme-lib", "version": "1.0", "wheels": [wheel]}]}
    for script, retries, expected, tries in (
        (["503", "503", "whole"], 2, State.HERE, 2), (["403"], 2, State.WITHHELD, 1), (["503"], 2, State.FAILED, 1), (["whole"], 0, State.FAILED, 1),
    ):  # fmt: skip
        server.script, asked = list(script), 0

        async def resolver(_: Closure) -> Mapping[str, object]:
            nonlocal asked
            asked += 1
            if asked == 1:
                raise Unresolved(f"Failed to fetch: `{server.base}/f.whl`", f"{server.base}/f.whl")
            return lock

        async with session(2) as connections:
            client = Client(connections, Address(server.base, server.base), None, retries)
            sync = Sync(client, resolver, [server.base], Manner("x", dry_run=True), Display(as_json=True), lambda: datetime.now(UTC))
            report = await sync.run([], [Closure("acme-lib", Requirements(["acme-lib"]))])
        assert ([one.state for one in report.outcomes], asked) == ([expected], tries), script


async def test_the_hubs_token_goes_to_the_hub_only(server: Server):
    """A request for a package carries no hub credential, one for a repository's file does."""
    await fetched(server, "whole")
    await fetched(server, "whole", file=replace(FILE, hub=True))
    assert [request.headers.get("Authorization") for request in server.asked] == [None, "Bearer hf_secret"]
