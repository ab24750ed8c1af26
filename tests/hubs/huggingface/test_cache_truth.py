"""The store under a running mirror: a file that vanishes is a miss, a full cache passes through on the record and recovers by itself."""

from __future__ import annotations

from pathlib import Path

from mirror.core.nouns import Digest
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

KIB = 1024


def add(standin: StandInHub, name: str, data: bytes) -> str:
    standin.add_repo("model", name, {"config.json": b"{}"}, {"model.safetensors": data})
    return f"/{name}/resolve/main/model.safetensors"


def blobs(mirror: Mirror) -> list[Path]:
    return [path for path in (mirror.folder / "store" / "blobs" / "sha256").rglob("*") if path.is_file()]


async def test_a_file_that_vanishes_under_a_hit_is_a_miss(standin: StandInHub, mirror: Mirror, monkeypatch) -> None:
    """Evicted between being found and being opened: the client gets its bytes from upstream, and no error."""
    target, found = add(standin, "acme/gone", b"g" * 200 * KIB), mirror.gateway._shelf.find
    assert (await mirror.get(target)).status == 200

    async def evicted(*wanted):
        blob = await found(*wanted)
        for path in blobs(mirror):
            path.unlink()
        return blob

    monkeypatch.setattr(mirror.gateway._shelf, "find", evicted)
    answer = await mirror.get(target)
    assert (answer.status, answer.body) == (200, b"g" * 200 * KIB)
    assert "fwd=miss" in answer.headers["Cache-Status"]


async def test_a_full_cache_passes_through_on_the_record_and_recovers(standin: StandInHub, tmp_path: Path) -> None:
    """What finds no room is served, verified and recorded, not stored; once there is room the next request stores it again."""
    first, second = add(standin, "acme/first", b"1" * 700 * KIB), add(standin, "acme/second", b"2" * 700 * KIB)
    async with mirror_of(standin, tmp_path / "m", quota=1024 * KIB) as mirror:
        assert "stored" in (await mirror.get(first)).headers["Cache-Status"]
        for _ in range(2):
            answer = await mirror.get(second)
            assert (answer.body, "stored" in answer.headers["Cache-Status"]) == (b"2" * 700 * KIB, False)
        served = [row for row in mirror.events("allowed") if "acme/second" in row["decision"]["artifact"]]
        assert len(served) == 1
        assert len(blobs(mirror)) == 1
        (path,) = blobs(mirror)
        await mirror.gateway._flights._store.remove(Digest("sha256", path.name))
        assert "stored" in (await mirror.get(second)).headers["Cache-Status"]
        assert "hit" in (await mirror.get(second)).headers["Cache-Status"]


async def test_the_same_bytes_lie_on_disk_once(standin: StandInHub, mirror: Mirror) -> None:
    """Two repositories with one file: one transfer, one blob, and each name has its own right and its own event."""
    one, two = add(standin, "acme/one", b"s" * 300 * KIB), add(standin, "globex/two", b"s" * 300 * KIB)
    assert (await mirror.get(one)).body == (await mirror.get(two)).body == b"s" * 300 * KIB
    assert len(blobs(mirror)) == 1
    assert len(standin.requests.where(origin="cdn", method="GET")) == 1
    assert {row["decision"]["project"] for row in mirror.events("allowed")} == {"pkg:huggingface/acme/one", "pkg:huggingface/globex/two"}
