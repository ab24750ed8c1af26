"""The hub as a registry: what Ollama and older llama.cpp ask, judged per file, permitted per caller."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mirror.core.errors import UpstreamGarbage
from mirror.hubs.huggingface.registry import layers_of
from tests.support.standin.defaults import ALICE, gguf
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

QUANT = "quantbarn/solid-7b-merge-GGUF"
MANIFEST = f"/v2/{QUANT}/manifests/Q4_K_M"
DENY = """version: 1
rules:
  - {id: eights, when: {file: ["*Q8_0.gguf"]}, effect: deny, reason: "is too large for us"}
  - {id: whole, when: {artifact: ["umbrella/*"]}, effect: deny, legal: true}
  - {id: careful, when: {file: ["*Q4_K_M.gguf"]}, effect: warn, reason: "is a quantisation"}
"""
OLLAMA = {"User_Agent": "ollama/0.6.0 (amd64 linux) Go/go1.24", "Accept": "application/vnd.docker.distribution.manifest.v2+json"}
LLAMA = {"User_Agent": "llama-cpp", "Accept": "application/json"}


@pytest.fixture
async def strict(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "strict", DENY) as mirror:
        yield mirror


def weights(standin: StandInHub, quant: str = "Q4_K_M") -> Any:
    repo = standin.repo(QUANT)
    return repo.commits[repo.head].files[f"solid-7b-merge-{quant}.gguf"]


async def test_a_pull_as_ollama_makes_it(standin: StandInHub, mirror: Mirror) -> None:
    """Manifest, then of every layer HEAD for its length and GETs of ranges: all of it from here, with the right bytes."""
    answer = await mirror.get(MANIFEST, **OLLAMA)
    assert answer.status == 200
    assert answer.headers["Docker-Content-Digest"] == "sha256:" + hashlib.sha256(answer.body).hexdigest()
    manifest = answer.json()
    assert "ggufFile" not in manifest
    for layer in (manifest["config"], *manifest["layers"]):
        target, size = f"/v2/{QUANT}/blobs/{layer['digest']}", layer["size"]
        head = await mirror.get(target, method="HEAD", **OLLAMA)
        assert (head.status, head.headers["Content-Length"], head.headers["Docker-Content-Digest"]) == (200, str(size), layer["digest"])
        half = size // 2
        parts = [await mirror.get(target, Range=f"bytes={span}") for span in (f"0-{half - 1}", f"{half}-{size - 1}")]
        assert [part.status for part in parts] == [206, 206]
        assert "sha256:" + hashlib.sha256(b"".join(part.body for part in parts)).hexdigest() == layer["digest"]
        assert (await mirror.get(target)).body == b"".join(part.body for part in parts)


async def test_llama_cpp_gets_its_own_manifest(standin: StandInHub, mirror: Mirror) -> None:
    """`ggufFile` is for llama.cpp alone, whoever asked first; the file that it names is at resolve (trap 22)."""
    for _ in range(2):
        assert "ggufFile" not in (await mirror.get(MANIFEST, **OLLAMA)).json()
        named = (await mirror.get(MANIFEST, **LLAMA)).json()["ggufFile"]
        assert named["blobId"] == f"sha256:{weights(standin).sha256}"
    got = await mirror.get(f"/{QUANT}/resolve/main/{named['rfilename']}", User_Agent="llama-cpp")
    assert got.body == weights(standin).data
    assert len([call for call in standin.requests if "/manifests/" in call.path]) == 2


async def test_a_denied_file_is_denied_in_a_manifest(standin: StandInHub, strict: Mirror) -> None:
    """A manifest that names a denied file is refused with JSON that these clients print; another tag of it is served."""
    for agent in (OLLAMA, LLAMA):
        answer = await strict.get(f"/v2/{QUANT}/manifests/Q8_0", **agent)
        assert answer.status == 403
        assert "is too large for us" in answer.json()["error"]
        assert answer.json()["errors"] == [{"code": "DENIED", "message": answer.json()["detail"]}]
        assert answer.headers["X-Mirror-Decision"]
    served = await strict.get(MANIFEST, **OLLAMA)
    assert served.status == 200
    assert served.headers["X-HF-Warning"].startswith("policy-careful-")
    assert (await strict.get("/v2/umbrella/orphan/manifests/latest", **OLLAMA)).status == 451


async def test_a_blob_is_given_only_when_a_manifest_named_it(standin: StandInHub, mirror: Mirror) -> None:
    """A digest that no manifest through this mirror named is 404, even of a file that exists; the hub is asked for no blob."""
    repo = standin.repo("acme/tiny-bert")
    for name, digest in ((QUANT, weights(standin, "Q8_0").sha256), ("acme/tiny-bert", repo.commits[repo.head].files["model.safetensors"].sha256)):
        answer = await mirror.get(f"/v2/{name}/blobs/sha256:{digest}")
        assert answer.status == 404
        assert "manifest" in answer.json()["errors"][0]["message"]
    await mirror.get(MANIFEST)
    other = await mirror.get(f"/v2/acme/tiny-bert/blobs/sha256:{weights(standin).sha256}")
    assert other.status == 404
    assert not [call for call in standin.requests if "/blobs/" in call.path or call.origin == "cdn"]


async def test_a_blob_is_judged_anew(standin: StandInHub, tmp_path: Path) -> None:
    """What a manifest named before a rule came is refused afterwards, by HEAD, GET and range, also after a restart."""
    target = f"/v2/{QUANT}/blobs/sha256:{weights(standin, 'Q8_0').sha256}"
    async with mirror_of(standin, tmp_path / "m") as mirror:
        await mirror.get(f"/v2/{QUANT}/manifests/Q8_0")
        assert (await mirror.get(target)).body == weights(standin, "Q8_0").data
    async with mirror_of(standin, tmp_path / "m") as mirror:
        assert (await mirror.get(target)).status == 200  # the name outlives a restart in the middle of a pull
    async with mirror_of(standin, tmp_path / "m", DENY) as mirror:
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", {"Range": "bytes=0-9"})):
            answer = await mirror.get(target, method=method, **headers)
            assert answer.status == 403
            assert weights(standin, "Q8_0").data[8:18] not in answer.body


async def test_gated_blobs_need_the_hubs_leave(standin: StandInHub, mirror: Mirror) -> None:
    """A manifest that one caller may see gives nothing to another who asks for its blobs without a credential."""
    data = gguf(random.Random(5))
    standin.add_repo("model", "acme/gated-gguf", {"README.md": b"x"}, {"m-Q4_0.gguf": data}, gated="auto", tokens_allowed=[ALICE])
    assert (await mirror.get("/v2/acme/gated-gguf/manifests/Q4_0")).status == 401
    manifest = await mirror.get("/v2/acme/gated-gguf/manifests/Q4_0", ALICE)
    assert manifest.status == 200
    for layer in (manifest.json()["config"], *manifest.json()["layers"]):
        target = f"/v2/acme/gated-gguf/blobs/{layer['digest']}"
        assert (await mirror.get(target, ALICE)).status == 200
        anybody = await mirror.get(target)
        assert anybody.status == 401
        assert data[:64] not in anybody.body
    assert mirror.events("hub_refused")


async def test_unknown_tags_and_the_ping(standin: StandInHub, mirror: Mirror) -> None:
    """An unknown quantisation is the hub's own 400 with JSON; `/v2/` says that this is a registry."""
    answer = await mirror.get(f"/v2/{QUANT}/manifests/Q9_X", **LLAMA)
    assert (answer.status, answer.json()["error"]) == (400, "The specified tag is not a valid quantization scheme.")
    assert (await mirror.get("/v2/")).headers["Docker-Distribution-Api-Version"] == "registry/2.0"


@pytest.mark.parametrize(
    "manifest",
    [
        [], {"layers": 7}, {"layers": [7]}, {"layers": [{"digest": "md5:1", "size": 1}]}, {"layers": [], "config": []},
        {"layers": [], "ggufFile": {"rfilename": 7, "blobId": "sha256:" + "0" * 64, "size": 1}}, {"layers": [], "mmprojFile": {"rfilename": "x"}},
    ],
)  # fmt: skip
def test_a_manifest_without_sense(manifest: Any) -> None:
    """A manifest of which a part could not be judged is the upstream's fault, by type, size and digest."""
    with pytest.raises(UpstreamGarbage, match="manifest"):
        list(layers_of(manifest, "http://hub.example"))


async def test_a_manifest_of_files_that_are_not_listed(standin: StandInHub, mirror: Mirror) -> None:
    """A manifest newer than a list of files that was just read is 502: what is not listed cannot be judged. Seconds later it is read again."""
    await mirror.get(f"/api/models/{QUANT}")
    repo = standin.repo(QUANT)
    repo.push(lfs={"solid-7b-merge-Q4_K_M.gguf": gguf(random.Random(9), 1_200_000)})
    answer = await mirror.get(MANIFEST, **OLLAMA)
    assert answer.status == 502
    assert "try again in a moment" in answer.json()["error"]
    mirror.pass_time(seconds=4)
    assert (await mirror.get(MANIFEST, **OLLAMA)).status == 200


async def test_made_layers_are_checked(standin: StandInHub, mirror: Mirror) -> None:
    """A small layer whose bytes are not those of its digest is 502, and is not kept."""
    config = (await mirror.get(MANIFEST)).json()["config"]["digest"]
    standin.faults.add("flip", f"/v2/*/blobs/{config}", at=3, times=1)
    assert (await mirror.get(f"/v2/{QUANT}/blobs/{config}")).status == 502
    assert (await mirror.get(f"/v2/{QUANT}/blobs/{config}")).status == 200
