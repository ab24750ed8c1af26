"""How files came is on the record: one event for a name and its bytes, read back from the index, the command and the evidence archive."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from typing import Any

import pytest

from mirror.core.nouns import Artifact, Blob
from mirror.core.ports import Source, Spool
from mirror.proxy.shelf import Shelf
from mirror.store.disk import DiskStore
from tests.hubs.huggingface.conftest import mirror_of
from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import ALICE, running_hub, running_index

LICENCE = b"Globex Open Licence\n\nDo as you like.\n"
POLICY = "version: 1\nrules: []\n"


def shown(mirror: MirrorProcess, name: str, count: int) -> list[dict[str, Any]]:
    """`mirror cache show`, once so many are on record; they are written down beside the transfer."""
    for _ in range(100):
        done = mirror.command("cache", "show", name, "--json", check=False)
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        if len(rows) >= count:
            break
        time.sleep(0.05)
    return rows


@pytest.fixture(scope="module")
def stage():
    with running_hub() as hub, running_index() as index:
        lfs = {"w.safetensors": os.urandom(90_000)}
        hub.add_repo("model", "globex/licensed", {"config.json": b"{}", "LICENSE": LICENCE}, lfs, tags=["license:apache-2.0"], card={"license": "apache-2.0"})
        contents = {"globex_lib-1.0.dist-info/licenses/LICENSE.txt": LICENCE}
        index.add_release("globex-lib", "1.0", license_expression="MIT", contents=contents, sdist=True)
        yield hub, index


@pytest.mark.parametrize("workers", [1, 2])
def test_the_first_transfer_is_on_record_once(stage, tmp_path, workers):
    """Whoever asks first leaves a record of when, from where, whether it was public then, under what licence and which bytes; nobody after leaves another."""
    hub, index = stage
    with running_mirror(tmp_path / "m", hub, index, POLICY, listen={"workers": workers}) as mirror:
        target = "/globex/licensed/resolve/main/w.safetensors"
        body = mirror.get(target).body
        [row] = shown(mirror, "globex/licensed@*#w.safetensors", 1)
        digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
        assert (row["digest"], row["declared"], row["size"], row["upstream"], row["public"]) == (digest, digest, len(body), hub.url, True)
        assert (row["licenses"], row["gated"], row["restriction"]) == (["apache-2.0"], "false", "")
        assert [text["path"] for text in row["texts"]] == ["LICENSE"]
        archived = [path for path in (mirror.folder / "data" / "evidence").rglob("*") if path.is_file() and row["texts"][0]["sha256"] in path.name]
        assert archived
        asked = len(hub.requests.where(path="*LICENSE*"))
        for _ in range(2):
            assert mirror.get(target).body == body
        assert mirror.get("/globex/licensed/resolve/main/LICENSE").body == LICENCE
        mirror.get("/globex/licensed/resolve/main/config.json")
        assert len(shown(mirror, "globex/licensed", 3)) == 3
        assert len(hub.requests.where(path="*LICENSE*")) == asked

        gated = mirror.get("/datasets/acme/gated-data/resolve/main/data.csv", headers={"Authorization": f"Bearer {ALICE}"})
        assert gated.status == 200
        [row] = shown(mirror, "pkg:huggingface/acme/gated-data?repo_type=dataset", 1)
        assert (row["public"], row["restriction"], row["gated"]) == (False, "gated", "auto")

        page = json.loads(mirror.get("/pypi/simple/globex-lib/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).body)
        for file in page["files"]:
            assert mirror.get("/pypi" + file["url"].partition("/pypi")[2]).status == 200
        rows = {row["artifact"].rpartition(".")[2]: row for row in shown(mirror, "pkg:pypi/globex-lib", 2)}
        assert (rows["whl"]["licenses"], rows["whl"]["public"], rows["gz"]["texts"]) == (["MIT"], True, [])
        assert [text["path"] for text in rows["whl"]["texts"]] == ["globex_lib-1.0.dist-info/licenses/LICENSE.txt"]
        assert rows["whl"]["texts"][0]["sha256"] == hashlib.sha256(LICENCE).hexdigest()
        events = [event for event in mirror.events() if event["kind"] == "acquired"]
        assert len(events) == 6
        assert len({event["subject"] for event in events}) == 6
        assert mirror.command("ledger", "verify").returncode == 0
        assert mirror.command("cache", "show", "acme/none", check=False).returncode == 1
    restored = mirror.folder / "data"
    for path in restored.glob("index.sqlite*"):
        path.unlink()
    with running_mirror(tmp_path / "m", hub, index, POLICY) as again:
        assert len(shown(again, "pkg:pypi/globex-lib", 2)) == 2


async def test_somebody_who_comes_as_it_lands_takes_no_record_away(stage, tmp_path, monkeypatch):
    """Who looks for a file before it lands and finds it in the store a moment later is answered from there, and the transfer is on record all the same, once."""
    hub, _ = stage
    adopt, find = DiskStore.adopt, Shelf.find
    looked, stored, answered = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def adopted(store: DiskStore, spool: Spool, blob: Blob) -> Blob:
        await looked.wait()
        kept = await adopt(store, spool, blob)
        stored.set()
        await answered.wait()
        return kept

    async def found(shelf: Shelf, artifact: Artifact, source: Source) -> Blob | None:
        blob = await find(shelf, artifact, source)
        if mirror.gateway._landing:  # the second
            looked.set()
            await stored.wait()
        return blob

    async with mirror_of(hub, tmp_path / "m") as mirror:
        acquisitions = mirror.gateway.keep_acquisitions(mirror.gateway.grants, mirror.gateway._flights._store)
        target = "/globex/licensed/resolve/main/w.safetensors"
        assert (await mirror.get("/globex/licensed/resolve/main/LICENSE")).status == 200
        with monkeypatch.context() as patched:
            patched.setattr(DiskStore, "adopt", adopted)
            patched.setattr(Shelf, "find", found)
            first = asyncio.ensure_future(mirror.get(target))
            async with asyncio.timeout(20):
                while not mirror.gateway._landing:
                    await asyncio.sleep(0.01)
                second = await mirror.get(target, Range="bytes=0-9")
            answered.set()
            assert ((await first).status, second.status, len(second.body)) == (200, 206, 10)
        await acquisitions.close()
        subjects = [event["subject"].rpartition("#")[2] for event in mirror.events("acquired")]
        assert sorted(subjects) == ["LICENSE", "w.safetensors"]
