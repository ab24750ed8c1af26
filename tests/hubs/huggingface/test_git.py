"""Git itself, by setting: clone with LFS through the mirror, and refusals that git prints."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import shutil
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.standin.defaults import ALICE, BOB, take_over
from tests.support.standin.gitobjects import pkt
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

RULES = """version: 1
rules:
  - {id: people, when: {publisher: [initech]}, effect: deny, legal: true, reason: "is not for this house"}
  - {id: pickles, when: {type: [dataset], file: ["*.pkl"]}, effect: deny}
  - {id: later, when: {artifact: ["acme/tiny-bert"]}, effect: deny, from: 2099-01-01}
"""
UPLOAD = "application/x-git-upload-pack"
REFS = "info/refs?service=git-upload-pack"
GIT_LFS = shutil.which("git") and shutil.which("git-lfs")
needs_git = pytest.mark.skipif(not GIT_LFS, reason="git and git-lfs are not both installed")


@pytest.fixture
async def permitting(standin: StandInHub, tmp_path: Path) -> AsyncIterator[Mirror]:
    async with mirror_of(standin, tmp_path / "m", RULES, git="permit") as mirror:
        yield mirror


async def git(folder: Path, *words: str) -> tuple[int, str]:
    """(return code, all output) of git with git-lfs set up and nothing of the user's own settings."""
    lfs = ["-c", "filter.lfs.smudge=git-lfs smudge -- %f", "-c", "filter.lfs.process=git-lfs filter-process", "-c", "filter.lfs.required=true"]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    process = await asyncio.create_subprocess_exec(
        "git", *lfs, *words, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, out.decode()


@needs_git
async def test_a_clone_with_its_large_files(standin: StandInHub, permitting: Mirror, tmp_path: Path) -> None:
    """A cold clone has the hub's commit and every byte; large files come through the mirror's cache, each on the record."""
    repo = standin.repo("acme/tiny-bert")
    code, said = await git(tmp_path, "clone", "-q", f"{permitting.url}/ACME/tiny-bert", "c")
    assert code == 0, said
    assert (await git(tmp_path / "c", "rev-parse", "HEAD"))[1].strip() == repo.head
    for path, file in repo.commits[repo.head].files.items():
        assert (tmp_path / "c" / path).read_bytes() == file.data, path
    (event,) = [row for row in permitting.events("allowed") if "not checked" in json.dumps(row)]
    assert event["decision"]["artifact"] == f"pkg:huggingface/acme/tiny-bert@{repo.head}"
    assert len([row for row in permitting.events("allowed") if row["decision"]["artifact"].endswith("model.safetensors")]) == 1
    assert not [call for call in standin.requests if call.path.endswith("/batch")]


@needs_git
async def test_git_prints_why_not(standin: StandInHub, permitting: Mirror, tmp_path: Path) -> None:
    """A denied project and one that a rule reaches into are refused in words that git prints, and not asked for."""
    code, said = await git(tmp_path, "clone", "-q", f"{permitting.url}/initech/solid-7b-chat", "a")
    assert code != 0
    assert "remote: Blocked by policy rule 'people'" in said
    code, said = await git(tmp_path, "clone", "-q", f"{permitting.url}/datasets/acme/reviews", "b")
    assert code != 0
    assert "rule 'pickles' could refuse single files" in said
    assert "hf download acme/reviews --repo-type dataset" in said
    assert len(permitting.events("refused")) == 1
    (note,) = permitting.events("route_refused")
    assert "pickles" in json.dumps(note)
    assert not [call for call in standin.requests if "info/refs" in call.path]


@needs_git
async def test_a_gate_opens_with_a_token_only(standin: StandInHub, permitting: Mirror, tmp_path: Path) -> None:
    """A gated repository is cloned in the caller's own name (Basic, as git sends it), and by nobody else after that."""
    for token, wanted in ((None, False), (BOB, False), (ALICE, True), (None, False)):
        who = f"user:{token}@" if token else ""
        code, said = await git(tmp_path, "clone", "-q", permitting.url.replace("http://", f"http://{who}") + "/acme/gated-auto", f"c{token}{wanted}")
        assert (code == 0) is wanted, said
    assert (tmp_path / f"c{ALICE}True" / "model.safetensors").stat().st_size > 100_000
    assert len(permitting.events("hub_refused")) >= 2


@needs_git
async def test_a_rule_that_comes_into_force_ends_it(standin: StandInHub, permitting: Mirror) -> None:
    """Every request is judged by the rules of its time: a fetch is refused from the day on which the project is."""
    target = f"/acme/tiny-bert.git/{REFS}"
    assert (await permitting.get(target)).status == 200
    permitting.pass_time(days=73 * 365 + 30)
    assert (await permitting.get(target)).status == 403


async def test_the_packs_of_a_request_in_any_form(standin: StandInHub, permitting: Mirror) -> None:
    """What is wanted and the version of the protocol go to the hub as they came, also from a compressed body."""
    head = standin.repo("acme/tiny-bert").head
    wanted = pkt(f"want {head} side-band-64k\n".encode()) + b"0000" + pkt(b"done\n")
    headers = {"Content-Type": f"{UPLOAD}-request", "Git-Protocol": "version=2"}
    answers = [
        await permitting.post("/acme/tiny-bert.git/git-upload-pack", data=wanted, headers=headers),
        await permitting.post("/acme/tiny-bert/git-upload-pack", data=gzip.compress(wanted), headers={**headers, "Content-Encoding": "gzip"}),
    ]
    for answer in answers:
        assert (answer.status, answer.headers["Content-Type"]) == (200, f"{UPLOAD}-result")
        pack = answer.body[answer.body.index(b"PACK") :]
        assert hashlib.sha1(pack[:-20], usedforsecurity=False).digest() == pack[-20:]
    calls = standin.requests.where(path="*/git-upload-pack")
    assert [(call.body, call.headers["Git-Protocol"]) for call in calls] == [(wanted, "version=2")] * 2
    assert (await permitting.post("/acme/tiny-bert/git-upload-pack", data=wanted)).status == 415


async def test_what_compresses_well_is_not_unpacked(standin: StandInHub, permitting: Mirror) -> None:
    """A body that would become a thousand times as large is refused at the bound, and so is what is in no form that its head says."""
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = b"".join(press.compress(bytes(1 << 20)) for _ in range(128)) + press.flush()
    for body, status in ((bomb, 413), (bomb[:9000], 413), (b"no gzip", 415), (gzip.compress(b"0000")[:-4], 415)):
        headers = {"Content-Type": f"{UPLOAD}-request", "Content-Encoding": "gzip"}
        assert (await permitting.post("/acme/tiny-bert/git-upload-pack", data=body, headers=headers)).status == status
    assert not standin.requests.where(path="*/git-upload-pack")


async def test_a_name_that_changed_hands(standin: StandInHub, tmp_path: Path) -> None:
    """A pack is judged as the repository that has the name now: seconds after a name has passed to another, that one's rules count."""
    rules = "version: 1\nrules: [{id: gate, when: {gated: [manual]}, effect: deny}]\n"
    async with mirror_of(standin, tmp_path / "h", rules, git="permit") as mirror:
        target = f"/umbrella/handed-on.git/{REFS}"
        assert (await mirror.get(target)).status == 200
        take_over(standin).gated = "manual"
        mirror.pass_time(seconds=4)
        answer = await mirror.get(target)
        assert (answer.status, b"rule 'gate'" in answer.body) == (403, True)


async def test_what_is_never_permitted(standin: StandInHub, permitting: Mirror) -> None:
    """Pushes are refused as writes, and the dumb protocol as no protocol; the hub hears nothing of either."""
    for target in ("/acme/tiny-bert/info/refs?service=git-receive-pack", "/acme/tiny-bert.git/info/refs", f"/acme/tiny-bert/{REFS}&service=git-receive-pack"):
        assert (await permitting.get(target)).status == 403
    assert (await permitting.post("/acme/tiny-bert.git/git-receive-pack", data=b"0000")).status == 403
    assert (await permitting.get("/acme/tiny-bert/objects/info/packs")).status == 403
    assert len(permitting.events("write_refused")) == 3
    assert not standin.requests


async def test_what_is_no_pack_does_not_pass(standin: StandInHub, permitting: Mirror) -> None:
    """An answer of another type is 502, a redirect is not followed, and a pack that breaks off is not ended."""
    standin.faults.add("headers", "*/info/refs", headers={"Content-Type": "text/plain"}, times=1)
    assert (await permitting.get(f"/acme/tiny-bert/{REFS}")).status == 502
    standin.faults.add("redirect", "*/info/refs", location=f"{standin.url}/acme/tiny-bert/resolve/main/config.json", times=1)
    assert (await permitting.get(f"/acme/tiny-bert/{REFS}")).status == 502
    standin.faults.add("drop_fin", "*/info/refs", at=60, times=1)
    with pytest.raises(Exception, match="(?i)payload|incomplete|disconnected|not enough"):
        await permitting.get(f"/acme/tiny-bert/{REFS}")


async def test_clones_take_a_share_of_the_connections(standin: StandInHub, permitting: Mirror) -> None:
    """A caller's ninth clone is 429, the thirty-third of all 503, each with a time to come back; files are fetched as ever."""
    tokens = [standin.add_token(f"hf_{'x' * 33}{number}", f"user{number}") for number in range(5)]
    standin.faults.add("throttle", "*/info/refs", rate=20)
    async with AsyncExitStack() as stack:
        for token in tokens[:4]:
            for _ in range(8):
                headers = {"Authorization": f"Bearer {token}"}
                clone = await stack.enter_async_context(permitting.session.get(f"{permitting.url}/acme/tiny-bert/{REFS}", headers=headers))
                assert clone.status == 200
            own = await permitting.get(f"/acme/tiny-bert/{REFS}", token)
            assert (own.status, own.headers["Retry-After"]) == (429, "30")
        full = await permitting.get(f"/acme/tiny-bert/{REFS}", tokens[4])
        assert (full.status, full.headers["Retry-After"]) == (503, "30")
        assert (await permitting.get("/acme/tiny-bert/resolve/main/vocab.txt")).status == 200


async def test_offline_and_outage(standin: StandInHub, tmp_path: Path) -> None:
    """Without the hub there is no clone: 503 in an outage, 404 offline, each with a line that git prints."""
    async with mirror_of(standin, tmp_path, RULES, git="permit") as mirror:
        await mirror.get("/acme/tiny-bert/resolve/main/config.json")
        await standin.stop()
        answer = await mirror.get(f"/acme/tiny-bert/{REFS}")
        assert (answer.status, answer.headers["Content-Type"]) == (503, "text/plain; charset=utf-8")
    async with mirror_of(standin, tmp_path, RULES, git="permit", offline=True) as offline:
        answer = await offline.get(f"/acme/tiny-bert/{REFS}")
        assert (answer.status, b"offline" in answer.body) == (404, True)
    await standin.start()
