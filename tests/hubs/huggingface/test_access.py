"""Rights: what one credential may read never reaches another, online, in an outage and offline (P5, P11)."""

from __future__ import annotations

import pytest

from tests.support.standin.defaults import ALICE, BOB, CANARY
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

GATED = "/acme/gated-auto/resolve/main/weights.bin"
SECRET = "/acme/secret/resolve/main/weights.bin"
RANGE = {"Range": "bytes=0-30"}


async def refused_to_all_but_alice(mirror: Mirror, target: str) -> None:
    for token in (None, BOB, "hf_revoked"):
        for method, headers in (("GET", {}), ("HEAD", {}), ("GET", RANGE)):
            answer = await mirror.get(target, token, method, **headers)
            assert answer.status in (401, 403, 404), (token, method, answer.status)
            assert CANARY not in answer.body
    assert CANARY in (await mirror.get(target, ALICE)).body


@pytest.mark.parametrize("target", [GATED, SECRET])
async def test_gated_and_private_content_stays_with_its_token(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """After Alice cached it, no other token and no anonymous caller gets a byte by GET, HEAD or range, cold and warm."""
    await refused_to_all_but_alice(mirror, target)
    await refused_to_all_but_alice(mirror, target)


@pytest.mark.parametrize("target", [GATED, SECRET])
async def test_isolation_in_an_outage(standin: StandInHub, mirror: Mirror, target: str) -> None:
    """With the hub gone, Alice is served by her grant for a day and nobody else ever is."""
    await refused_to_all_but_alice(mirror, target)
    await standin.stop()
    mirror.pass_time(hours=1)
    assert CANARY in (await mirror.get(target, ALICE)).body
    for token in (None, BOB):
        answer = await mirror.get(target, token)
        assert answer.status in (401, 403, 404, 503)
        assert CANARY not in answer.body
    mirror.pass_time(hours=24)
    late = await mirror.get(target, ALICE)
    assert late.status in (403, 503)
    assert CANARY not in late.body


async def test_isolation_offline(standin: StandInHub, tmp_path) -> None:
    """A mirror restarted without network serves gated bytes to the token that had a grant, and to no other."""
    async with mirror_of(standin, tmp_path / "m") as mirror:
        assert (await mirror.get(GATED, ALICE)).status == 200
    async with mirror_of(standin, tmp_path / "m", offline=True) as mirror:
        assert CANARY in (await mirror.get(GATED, ALICE)).body
        for token in (None, BOB):
            answer = await mirror.get(GATED, token)
            assert (answer.status, answer.headers["X-Error-Code"]) == (403, "GatedRepo")
            assert CANARY not in answer.body


async def test_the_hubs_no_is_replayed(standin: StandInHub, mirror: Mirror) -> None:
    """Gated, private, disabled, region-blocked and missing come with the hub's own status, code and sentence."""
    expected = {
        ("acme/gated-auto", None): (401, "GatedRepo", "restricted"),
        ("acme/gated-auto", BOB): (403, "GatedRepo", "not in the authorized list"),
        ("acme/secret", None): (401, "RepoNotFound", "Invalid username or password."),
        ("acme/secret", BOB): (404, "RepoNotFound", "Repository not found"),
        ("acme/disabled", BOB): (403, None, "Access to this resource is disabled."),
        ("acme/disabled-info", BOB): (403, None, "Access to this resource is disabled."),
        ("acme/region-blocked", BOB): (403, None, "region"),
        ("acme/never-was", None): (401, "RepoNotFound", "Invalid username or password."),
    }
    for (repo, token), (status, code, words) in expected.items():
        answer = await mirror.get(f"/{repo}/resolve/main/weights.bin", token)
        assert (answer.status, answer.headers.get("X-Error-Code")) == (status, code), repo
        assert words in answer.headers["X-Error-Message"]
        assert words in answer.json()["error"]
    causes = [event["detail"]["cause"] for event in mirror.events("hub_refused")]
    assert sorted(set(causes)) == ["disabled", "gated", "region"]


async def test_a_stale_token_harms_no_public_download(standin: StandInHub, mirror: Mirror) -> None:
    """A revoked token gets what anybody gets (trap 20), and its own 401 on what is gated."""
    assert (await mirror.get("/acme/tiny-bert/resolve/main/config.json", "hf_revoked")).status == 200
    gated = await mirror.get("/acme/gated-auto/resolve/main/config.json", "hf_revoked")
    assert (gated.status, gated.headers["X-Error-Message"]) == (401, "Invalid credentials in Authorization header")


@pytest.mark.parametrize("change", [{"gated": "manual"}, {"private": True}, {"disabled": True}, {"disabled": "info"}])
async def test_a_closed_gate_closes_here(standin: StandInHub, mirror: Mirror, change: dict) -> None:
    """A repository that becomes gated, private or disabled after it was cached is closed within minutes, and in an outage."""
    repo = standin.repo("acme/tiny-bert")
    target = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    by_commit = f"/acme/tiny-bert/resolve/{repo.head}/pytorch_model.bin"
    assert (await mirror.get(target)).status == 200
    assert (await mirror.get(by_commit)).status == 200
    for key, value in change.items():
        setattr(repo, key, value)
    mirror.pass_time(minutes=6)
    for asked in (target, by_commit):
        assert (await mirror.get(asked)).status in (401, 403)
    await standin.stop()
    mirror.pass_time(minutes=6)
    for asked in (target, by_commit):
        gone = await mirror.get(asked)
        assert gone.status in (401, 403)
        assert CANARY not in gone.body


@pytest.mark.parametrize("token", [None, BOB])
async def test_what_the_hub_pulls_stays_where_the_operator_says_so(standin: StandInHub, tmp_path, token: str | None) -> None:
    """With `gone: serve` a public repository that vanished is served as it was last seen, and only what is cached."""
    repo = standin.repo("acme/tiny-bert")
    kept, never = "model.safetensors", "vocab.txt"
    async with mirror_of(standin, tmp_path, gone="serve") as mirror:
        for revision in ("main", repo.head):
            assert (await mirror.get(f"/acme/tiny-bert/resolve/{revision}/{kept}", token)).status == 200
        assert (await mirror.get("/api/models/acme/tiny-bert", token)).status == 200
        repo.private = True
        for minutes in (1, 6):
            mirror.pass_time(minutes=minutes)
            for revision in ("main", repo.head):
                assert (await mirror.get(f"/acme/tiny-bert/resolve/{revision}/{kept}", token)).status == 200
                assert (await mirror.get(f"/acme/tiny-bert/resolve/{revision}/{never}", token)).status in (401, 404)
        assert (await mirror.get("/api/models/acme/tiny-bert", token)).status == 200


async def test_a_gate_closes_even_where_what_is_gone_is_served(standin: StandInHub, tmp_path) -> None:
    """`gone: serve` is about repositories that vanish; a gate or a region block still holds for cached copies (P11)."""
    target = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    async with mirror_of(standin, tmp_path, gone="serve") as mirror:
        assert (await mirror.get(target)).status == 200
        standin.repo("acme/tiny-bert").gated = "manual"
        mirror.pass_time(minutes=6)
        assert (await mirror.get(target)).status == 401
        standin.repo("acme/tiny-bert").private = True
        mirror.pass_time(minutes=6)
        assert (await mirror.get(target)).status == 401


async def test_what_was_never_public_stays_closed(standin: StandInHub, tmp_path) -> None:
    """A private repository is not given to anybody because the hub does not show it (`gone: serve`)."""
    target = "/acme/secret/resolve/main/config.json"
    async with mirror_of(standin, tmp_path, gone="serve") as mirror:
        assert (await mirror.get(target, ALICE)).status == 200
        mirror.pass_time(minutes=6)
        for token in (None, BOB):
            assert (await mirror.get(target, token)).status in (401, 404)

async def test_a_region_block_is_remembered(standin: StandInHub, mirror: Mirror) -> None:
    """Bytes that were cached before the hub blocked our region are refused after, and in an outage (P11)."""
    target = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    assert (await mirror.get(target)).status == 200
    standin.repo("acme/tiny-bert").region_block = ["US"]
    mirror.pass_time(minutes=6)
    assert (await mirror.get(target)).status == 403
    await standin.stop()
    mirror.pass_time(hours=2)
    answer = await mirror.get(target)
    assert (answer.status, CANARY in answer.body) == (403, False)


async def test_public_files_outlive_the_hub(standin: StandInHub, mirror: Mirror) -> None:
    """With the hub gone for a week, what was public and cached is served as before (P8)."""
    target = "/acme/tiny-bert/resolve/main/model.safetensors"
    await mirror.get(target)
    await standin.stop()
    mirror.pass_time(days=7)
    for token in (None, BOB):
        assert (await mirror.get(target, token)).status == 200


async def test_a_name_that_changes_hands_inherits_nothing(standin: StandInHub, mirror: Mirror) -> None:
    """After another repository took the name, its own bytes are served, known by the hub's id (trap 16)."""
    from tests.support.standin.defaults import take_over

    target = "/umbrella/handed-on/resolve/main/config.json"
    assert b"stranger" not in (await mirror.get(target)).body
    take_over(standin)
    mirror.pass_time(minutes=6)
    assert b"stranger" in (await mirror.get(target)).body


async def test_one_head_for_many_waiters(standin: StandInHub, mirror: Mirror) -> None:
    """Sixteen callers that arrive together cost one page and one HEAD upstream."""
    import asyncio

    answers = await asyncio.gather(*(mirror.get("/acme/tiny-bert/resolve/main/config.json", method="HEAD") for _ in range(16)))
    assert {answer.status for answer in answers} == {200}
    calls = [(call.method, call.path.split("/")[1]) for call in standin.requests if call.origin == "hub"]
    assert sorted(calls) == [("GET", "api"), ("HEAD", "acme")]


async def test_the_organisations_token(standin: StandInHub, tmp_path) -> None:
    """`passthrough` never lends the organisation's token to a caller; `service` and `both` do, and `service` ignores the caller's."""
    expected = {"passthrough": (401, 200), "service": (200, 200), "both": (200, 403)}
    for mode, (anonymous, bob) in expected.items():
        async with mirror_of(standin, tmp_path / mode, token=ALICE, credentials=mode) as mirror:
            assert (await mirror.get(GATED)).status == anonymous, mode
            if mode != "passthrough":
                assert (await mirror.get(GATED, BOB)).status == bob, mode
            assert (await mirror.get("/acme/secret/resolve/main/config.json")).status == (401 if mode == "passthrough" else 200)
            sent = {call.headers.get("Authorization") for call in standin.requests if call.origin == "hub"}
            assert (f"Bearer {BOB}" in sent) == (mode == "both")
            standin.requests.clear()


async def test_tokens_are_nowhere_on_disk(standin: StandInHub, mirror: Mirror) -> None:
    """No file under the data folder - index, ledger, store, evidence - holds a token that was used."""
    await mirror.get(GATED, ALICE)
    await mirror.get(SECRET, BOB)
    await mirror.get("/api/whoami-v2", ALICE)
    for path in mirror.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert ALICE.encode() not in data, path
            assert BOB.encode() not in data, path


@pytest.mark.parametrize(("how", "token"), [("private", None), ("disabled", None), ("disabled", ALICE)])
async def test_what_was_withdrawn_is_not_shown_by_its_commit(standin: StandInHub, tmp_path, how: str, token: str | None) -> None:
    """In an outage, a repository that the hub had withdrawn is not shown again under the commit of an older page (P11)."""
    repo, info = standin.repo("acme/tiny-bert"), "/api/models/acme/tiny-bert"
    file = "/acme/tiny-bert/resolve/main/pytorch_model.bin"
    targets = [f"{info}/revision/{repo.head}", f"{info}/tree/{repo.head}", file.replace("main", repo.head), f"{info}/tree/main", file]
    async with mirror_of(standin, tmp_path, token=token) as mirror:
        assert [(await mirror.get(target)).status for target in (file, f"{info}/tree/main")] == [200, 200]
        setattr(repo, how, True)
        mirror.pass_time(minutes=6)
        assert (await mirror.get(info)).status in (401, 403)
        await standin.stop()
        mirror.pass_time(minutes=1)
        for caller in (None, BOB):
            for target in targets * 2:  # the second time while the mirror leaves the hub alone
                answer = await mirror.get(target, caller)
                assert answer.status in (401, 403, 404), (target, answer.status)
                assert b"pytorch_model.bin" not in answer.body


async def test_what_vanished_is_served_in_an_outage_too(standin: StandInHub, tmp_path) -> None:
    """`gone: serve` holds when the hub is down as well, whichever answer told that the repository is gone."""
    repo = standin.repo("acme/tiny-bert")
    targets = [f"/acme/tiny-bert/resolve/{revision}/pytorch_model.bin" for revision in ("main", repo.head)]
    async with mirror_of(standin, tmp_path, gone="serve") as mirror:
        assert (await mirror.get(targets[0])).status == 200
        mirror.pass_time(minutes=4, seconds=50)
        assert (await mirror.get(targets[0])).status == 200
        repo.private = True
        mirror.pass_time(seconds=40)
        assert (await mirror.get(targets[1])).status == 200  # the page is fresh: the file's own HEAD told
        await standin.stop()
        mirror.pass_time(minutes=20)
        assert [(await mirror.get(target)).status for target in targets] == [200, 200]


async def test_what_was_withdrawn_is_still_its_readers(standin: StandInHub, mirror: Mirror) -> None:
    """A repository that was closed to the public is shown by its commit, in an outage, to whoever had it in their own name since."""
    repo = standin.repo("acme/tiny-bert")
    target = f"/api/models/acme/tiny-bert/revision/{repo.head}"
    assert (await mirror.get("/api/models/acme/tiny-bert")).status == 200
    repo.private, repo.tokens_allowed = True, {ALICE}
    mirror.pass_time(minutes=6)
    assert (await mirror.get("/api/models/acme/tiny-bert")).status == 401
    assert (await mirror.get("/api/models/acme/tiny-bert", ALICE)).status == 200
    await standin.stop()
    mirror.pass_time(minutes=1)
    assert [(await mirror.get(target, token)).status for token in (ALICE, None)] == [200, 401]
