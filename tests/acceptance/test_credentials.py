"""What one credential may read never reaches another, and no token is ever found where it does not belong (P5, P11)."""

from __future__ import annotations

import base64
import json
import random
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import zstandard

from tests.acceptance.probe import Answer, Attacker, Probe, readings
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin import ALICE, BOB, CANARY, StandInHub, StandInIndex, populate, populate_index, running
from tests.support.standin.defaults import model

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

SERVICE = "hf_OrganisationStandInToken000000000003"
#: Repositories of which only ALICE may read the contents: {name: (kind, whether the information is hidden too, a canary file)}.
GATED = ("acme/gated-auto", "models", False, "notes.txt", "weights.bin")
MANUAL = ("acme/gated-manual", "models", False, "notes.txt", "weights.bin")
DATA = ("acme/gated-data", "datasets", False, "data.csv", "data.csv")
SECRET = ("acme/secret", "models", True, "notes.txt", "weights.bin")
CLOSED = (GATED, MANUAL, DATA, SECRET)
#: A private repository of which even the name of a file is a secret.
HIDDEN = b"plan-for-project-x"
OTHERS: dict[str, dict[str, str]] = {
    "nobody": {},
    "bob": {"Authorization": f"Bearer {BOB}"},
    "bob by git": {"Authorization": "Basic " + base64.b64encode(f"bob:{BOB}".encode()).decode()},
    "a stranger": {"Authorization": "Bearer hf_StrangerStandInToken000000000000009"},
    "empty bearer": {"Authorization": "Bearer "},
    "ALICE'S TOKEN IN CAPITALS": {"Authorization": f"Bearer {ALICE.upper()}"},
    "cut token": {"Authorization": f"Bearer {ALICE[:-1]}"},
    "nonsense": {"Authorization": "\xff\xfe"},
    "cookie": {"Cookie": f"token={ALICE}"},
}


def hub_with_secrets() -> StandInHub:
    hub = populate(StandInHub())
    hub.add_token(SERVICE, "organisation")
    secret = hub.repo("acme/secret")
    secret.push({f"{HIDDEN.decode()}.txt": CANARY + b"plan"})
    for name in ("acme/was-public", "acme/was-disabled", "acme/was-region", "acme/was-gated", "acme/was-deleted"):
        model(hub, random.Random(name), name, files={"notes.txt": CANARY + name.encode()}, lfs={"weights.bin": CANARY + b"w" * 60_000})
    return hub


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    with running(hub_with_secrets()) as started:
        yield started


def targets(name: str, plural: str, commit: str, *paths: str) -> Iterator[Probe]:
    """Every way to contents, with every manner of asking for them."""
    prefix = "" if plural == "models" else f"{plural}/"
    for path in paths:
        for revision in ("main", commit, commit[:10], "refs%2Fheads%2Fmain"):
            for verb in ("resolve", "raw"):
                yield Probe(f"/{prefix}{name}/{verb}/{revision}/{path}")
        yield Probe(f"/api/resolve-cache/{plural}/{name}/{commit}/{path}")
        for headers in ({"Range": "bytes=0-9"}, {"Range": "bytes=-30"}, {"Range": "bytes=0-3,8-30"}, {"If-None-Match": "*"}, {"Accept-Encoding": "gzip, zstd"}):
            yield Probe(f"/{prefix}{name}/resolve/main/{path}", headers=headers)
        yield Probe(f"/{prefix}{name}/resolve/main/{path}", "HEAD")
        yield Probe(f"/{prefix}{name.upper()}/resolve/main/{path}")


def pages(name: str, plural: str, commit: str) -> Iterator[Probe]:
    """Everything that is said about a repository."""
    base = f"/api/{plural}/{name}"
    for tail in ("", "?blobs=true", "?expand=siblings", "/revision/main", f"/revision/{commit}", "/tree/main", f"/tree/{commit}?recursive=true", "/refs", "/commits/main", f"/commits/{commit}", "/auth-check"):  # fmt: skip
        yield Probe(base + tail)
    yield Probe(f"{base}/paths-info/main", "POST", {"Content-Type": "application/json"}, json.dumps({"paths": [f"{HIDDEN.decode()}.txt", "notes.txt"]}).encode())


def by(probe: Probe, headers: dict[str, str]) -> Probe:
    return Probe(probe.target, probe.method, {**probe.headers, **headers}, probe.body)


def given_away(hub: StandInHub, attacker: Attacker, others: Mapping[str, dict[str, str]]) -> list[str]:
    """What of the closed repositories is answered to those who may not have it.

    Nobody and BOB try everything; the others every third request. All at once: repeats are gathered into one record.
    """
    work: list[tuple[str, Probe, bool]] = []
    for who, headers in others.items():
        turn = 1 if who in ("nobody", "bob") else 3
        for name, plural, hidden, *paths in CLOSED:
            commit = hub.repo(name, plural).head
            work += [(who, by(probe, headers), True) for probe in [*targets(name, plural, commit, *dict.fromkeys(paths))][::turn]]
            for probe in [*pages(name, plural, commit)][::turn]:
                work.append((who, by(probe, headers), hidden or "/commits/" in probe.target or "auth-check" in probe.target))
        work += [(who, by(Probe(listing), headers), False) for listing in LISTINGS]
        work.append((who, by(Probe("/api/whoami-v2"), headers), False))
    found = []
    for (who, probe, barred), (_, answer) in zip(work, attacker.all([probe for _, probe, _ in work], lines=64), strict=True):
        named = (probe.target in LISTINGS and b"acme/secret" in answer.body) or ("whoami" in probe.target and b"alice" in answer.body)
        if leaks(answer) or named or (barred and answer.status < 400):
            found.append(f"{who}: {answer.status} {probe} {answer.body[:60]!r}")
    return found


LISTINGS = ("/api/models?limit=1000", "/api/models?author=acme&full=true&limit=1000", "/api/datasets?limit=1000")


def leaks(answer: Answer) -> bool:
    return any(CANARY[:6] in text or HIDDEN in text for text in [*readings(answer.body), str(answer.headers).encode("utf-8", "replace")])


def fill(hub: StandInHub, attacker: Attacker) -> None:
    """ALICE reads everything, so that all of it is cached."""
    mine = {"Authorization": f"Bearer {ALICE}"}
    for name, plural, _, *paths in CLOSED:
        commit = hub.repo(name, plural).head
        for probe, answer in attacker.all([by(probe, mine) for probe in [*targets(name, plural, commit, *paths), *pages(name, plural, commit)]]):
            assert answer.status < 500, probe
        prefix = "" if plural == "models" else f"{plural}/"
        got = attacker.send(Probe(f"/{prefix}{name}/resolve/main/{paths[0]}", headers=mine))
        assert got.status == 200
        assert CANARY in got.body
    assert HIDDEN in attacker.send(by(Probe("/api/models/acme/secret/tree/main"), mine)).body
    assert attacker.send(by(Probe("/api/whoami-v2"), mine)).body.count(b"alice") >= 1
    attacker.send(by(Probe("/api/models?limit=1000"), mine))


def test_cached_for_one_is_not_for_another(hub: StandInHub, tmp_path: Path) -> None:
    """Gated and private content that ALICE's token brought in reaches nobody else: online, in an outage, and offline after a restart."""
    mirror = MirrorProcess(tmp_path / "m", upstream_config(hub)).start()
    try:
        attacker = Attacker(mirror.url)
        fill(hub, attacker)
        assert not given_away(hub, attacker, OTHERS), "online"
        hub.go_down()
        try:
            assert not given_away(hub, attacker, OTHERS), "in an outage"
            mine = attacker.send(Probe("/acme/gated-auto/resolve/main/notes.txt", headers={"Authorization": f"Bearer {ALICE}"}))
            assert CANARY in mine.body, "the grant of the one who has it does not carry through the outage"
            mirror.stop()
            mirror.config["network"] = "offline"
            mirror.start()
            attacker = Attacker(mirror.url)
            assert not given_away(hub, attacker, OTHERS), "offline"
            assert attacker.get("/acme/tiny-bert/resolve/main/config.json").status in (200, 404)
        finally:
            hub.come_back()
    finally:
        mirror.stop()
    assert "Traceback" not in mirror.log.read_text(encoding="utf-8")


def test_a_bad_token_breaks_nothing_public(hub: StandInHub, tmp_path: Path) -> None:
    """A stale, foreign or malformed token reads public content as nobody does, and its bearer is never told that he is somebody."""
    mirror = MirrorProcess(tmp_path / "m", upstream_config(hub)).start()
    try:
        attacker = Attacker(mirror.url)
        for who, headers in OTHERS.items():
            for target in ("/acme/tiny-bert/resolve/main/config.json", "/api/models/acme/tiny-bert", "/api/models/acme/tiny-bert/tree/main"):
                assert attacker.send(by(Probe(target), headers)).status == 200, (who, target)
        first = attacker.send(Probe("/api/whoami-v2", headers={"Authorization": f"Bearer {ALICE}"}))
        second = attacker.send(Probe("/api/whoami-v2", headers={"Authorization": f"Bearer {BOB}"}))
        assert json.loads(first.body)["name"] == "alice"
        assert json.loads(second.body)["name"] == "bob"
        assert attacker.get("/api/whoami-v2").status == 401
        assert first.header("Cache-Control") == "no-store"
    finally:
        mirror.stop()


CHANGES = {
    "acme/was-public": {"private": True},
    "acme/was-disabled": {"disabled": True},
    "acme/was-region": {"region_block": ["*"]},
    "acme/was-gated": {"gated": "auto"},
}


def test_what_the_hub_withdraws_is_not_laundered(hub: StandInHub, tmp_path: Path) -> None:
    """Bytes that are cached are refused once the hub refuses them - region, disabled, gated, private, deleted - and stay so in an outage and offline."""
    config = upstream_config(hub)
    config["hubs"]["huggingface"]["grants"] = {"online": "1s", "outage": "24h"}
    mirror = MirrorProcess(tmp_path / "m", config).start()
    names = [*CHANGES, "acme/was-deleted"]
    try:
        attacker = Attacker(mirror.url)
        commits = {name: hub.repo(name).head for name in names}
        for name in names:
            for path in ("notes.txt", "weights.bin"):
                assert CANARY in attacker.get(f"/{name}/resolve/main/{path}").body
        for name, change in CHANGES.items():
            for key, value in change.items():
                setattr(hub.repo(name), key, value)
        hub.world.remove("models", "acme/was-deleted")
        _until_refused(attacker, names, commits)
        served = _served(attacker, names, commits)
        assert not served, f"still served from the cache: {served}"
        hub.go_down()
        try:
            served = _served(attacker, names, commits)
            assert not served, f"served in an outage: {served}"
            mirror.stop()
            mirror.config["network"] = "offline"
            mirror.start()
            served = _served(Attacker(mirror.url), names, commits)
            assert not served, f"served offline: {served}"
        finally:
            hub.come_back()
    finally:
        mirror.stop()


def _asked(name: str, commit: str) -> Iterator[Probe]:
    for path in ("notes.txt", "weights.bin"):
        for revision in ("main", commit):
            yield Probe(f"/{name}/resolve/{revision}/{path}")
            yield Probe(f"/{name}/resolve/{revision}/{path}", "HEAD")
            yield Probe(f"/{name}/resolve/{revision}/{path}", headers={"Range": "bytes=0-9"})
        yield Probe(f"/api/resolve-cache/models/{name}/{commit}/{path}")
        yield Probe(f"/{name}/raw/main/{path}")


def _served(attacker: Attacker, names: list[str], commits: dict[str, str]) -> list[str]:
    work = [probe for name in names for probe in _asked(name, commits[name])]
    return [f"{answer.status} {probe}" for probe, answer in attacker.all(work) if answer.status < 400 or leaks(answer)]


def _until_refused(attacker: Attacker, names: list[str], commits: dict[str, str]) -> None:
    """Pages about a branch are good for a minute: that long, at most, the hub's change of mind goes unseen."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and _served(attacker, names, commits):
        time.sleep(2)


# --- where tokens must not be -------------------------------------------------------------------------------------------

PLANTED = {
    "bearer": "hf_PlantedBearerToken00000000000000011",
    "basic": "hf_PlantedBasicToken000000000000000012",
    "query": "hf_PlantedQueryToken000000000000000013",
    "agent": "hf_PlantedAgentToken000000000000000014",
    "referer": "hf_PlantedRefererToken0000000000000015",
    "header": "hf_PlantedHeaderToken00000000000000016",
    "path": "hf_PlantedPathToken0000000000000000017",
    "userinfo": "hf_PlantedUserinfoToken000000000000018",
    "cookie": "hf_PlantedCookieToken00000000000000019",
    "body": "hf_PlantedBodyToken0000000000000000020",
    "escaped": "hf_PlantedEscapedToken00000000000000021",
    "opaque": "opaque-pass-phrase-of-nobody-22",
}
FILES = ("/acme/tiny-bert/resolve/main/model.safetensors", "/acme/tiny-bert/resolve/main/config.json", "/acme/tiny-bert/raw/main/config.json", "/api/models/acme/tiny-bert", "/acme/gated-auto/resolve/main/weights.bin", "/api/models/acme/secret", "/api/whoami-v2", "/api/models", "/pypi/simple/acme-lib/", "/nowhere/x/y")  # fmt: skip


def plant() -> Iterator[Probe]:
    """A token in every place of a request where somebody once put one."""
    basic = "Basic " + base64.b64encode(f"user:{PLANTED['basic']}".encode()).decode()
    secret = "Basic " + base64.b64encode(f"user:{PLANTED['opaque']}".encode()).decode()
    for target in FILES:
        yield Probe(target, headers={"Authorization": f"Bearer {PLANTED['bearer']}"})
        yield Probe(target, headers={"Authorization": f"Bearer {ALICE}"})
        yield Probe(target, headers={"Authorization": basic})
        yield Probe(target, headers={"Authorization": secret})
        yield Probe(f"{target}?token={PLANTED['query']}&access_token={PLANTED['query']}&x={PLANTED['query']}")
        yield Probe(target, headers={"User-Agent": f"unknown/None; token {PLANTED['agent']}"})
        yield Probe(target, headers={"Referer": f"https://user:{PLANTED['referer']}@huggingface.co/?t={PLANTED['referer']}"})
        yield Probe(target, headers={name: PLANTED["header"] for name in ("X-Api-Key", "X-Auth-Token", "Private-Token", "X-Forwarded-For", "X-Request-Id", "X-Amzn-Trace-Id")})
        yield Probe(target, headers={"Cookie": f"token={PLANTED['cookie']}"})
        yield Probe(f"http://user:{PLANTED['userinfo']}@localhost{target}")
        yield Probe(target, "POST", {"Content-Type": "application/json"}, json.dumps({"token": PLANTED["body"], "paths": [PLANTED["body"]]}).encode())
    token, escaped = PLANTED["path"], PLANTED["escaped"].replace("_", "%5F", 1)
    for path in (f"/{token}/x/resolve/main/f", f"/acme/{token}/resolve/main/f", f"/acme/tiny-bert/resolve/{token}/config.json", f"/acme/tiny-bert/resolve/main/{token}", f"/api/models/acme/{token}", f"/x/y/z/{token}", f"/pypi/simple/{token}/", f"/packages/source/a/acme/{token}.tar.gz", f"/-/blocked/{token}", f"/acme/{token}.git/info/refs?service=git-upload-pack"):  # fmt: skip
        yield Probe(path)
        yield Probe(path.replace(token, escaped))


def test_tokens_are_nowhere(tmp_path: Path) -> None:
    """Tokens planted all over requests reach neither CDN nor a log, the ledger, or any file of the data folder, decompressed or not."""
    with running(hub_with_secrets()) as hub, running(populate_index(StandInIndex())) as index:
        for token in PLANTED.values():
            hub.add_token(token, "planted")
            hub.repo("acme/gated-auto").tokens_allowed.add(token)
        mirror = MirrorProcess(tmp_path / "m", upstream_config(hub, index), POLICY).start()
        try:
            attacker = Attacker(mirror.url)
            answers = attacker.all(list(plant()))
            assert any(answer.status == 200 for _, answer in answers)
            assert all(answer.status < 500 for _, answer in answers), [(str(p), a.status) for p, a in answers if a.status >= 500][:5]
            told = mirror.command("ledger", "tail", "-n", "100000").stdout + mirror.command("ledger", "tail", "--json", "-n", "100000").stdout
        finally:
            mirror.stop()
        shown = {name: token for name, token in {**PLANTED, "alice": ALICE}.items()}
        abroad = [call for call in [*hub.requests, *index.requests] if call.origin != "hub"]
        assert hub.requests.where(origin="cdn"), "nothing was fetched, so nothing is proven"
        found = [f"{call.origin} got {name}" for call in abroad for name in carried(wire_text(call), shown)]
        found += [f"the log has {name}" for name in carried(mirror.log.read_bytes(), shown)]
        found += [f"the ledger tells {name}" for name in carried(told.encode(), shown)]
        for path in sorted((mirror.folder / "data").rglob("*")):
            if path.is_file():
                for text in on_disk(path):
                    found += [f"{path.relative_to(mirror.folder)} holds {name}" for name in carried(text, shown)]
        assert not found, "\n".join(sorted(set(found)))


POLICY = "version: 1\nrules:\n  - {id: no, when: {file: [config.json]}, effect: deny}\n"


def wire_text(call: object) -> bytes:
    headers = "\n".join(f"{key}: {value}" for key, value in call.headers.items())  # type: ignore[attr-defined]
    return f"{call.raw_path}\n{headers}\n".encode() + call.body  # type: ignore[attr-defined]


def carried(data: bytes, tokens: dict[str, str]) -> list[str]:
    """Which tokens stand in `data`, also in Base64, percent-encoded or in hexadecimal."""
    found = []
    for name, token in tokens.items():
        forms = [token.encode(), token.encode().hex().encode(), token.replace("_", "%5F").encode(), token.replace("_", "%5f").encode()]
        for lead in (0, 1, 2):
            forms.append(base64.b64encode(b"x" * lead + token.encode())[4 : -4])
        found += [name] if any(form in data for form in forms) else []
    return found


def on_disk(path: Path) -> Iterator[bytes]:
    """A file's bytes, what they decompress to, and every value of a database."""
    data = path.read_bytes()
    yield data
    if data[:4] == b"\x28\xb5\x2f\xfd":
        yield zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if data.startswith(b"SQLite format 3"):
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        for (table,) in base.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in base.execute(f'select * from "{table}"'):
                for value in row:
                    raw = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""
                    yield from readings(raw)
        base.close()


# --- the organisation's own token ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["passthrough", "both"])
def test_the_organisations_token_lends_nobody_what_he_may_not_have(hub: StandInHub, tmp_path: Path, mode: str) -> None:
    """A service token that sees a private repository does not show it: to nobody in `passthrough`, to no caller with a token of his own in `both`."""
    for name in ("acme/secret", "acme/gated-auto", "acme/gated-manual"):
        hub.repo(name).tokens_allowed.add(SERVICE)
    hub.repo("acme/gated-data", "dataset").tokens_allowed.add(SERVICE)
    config = upstream_config(hub)
    config["hubs"]["huggingface"] |= {"token": SERVICE, "credentials": mode}
    mirror = MirrorProcess(tmp_path / "m", config).start()
    try:
        attacker = Attacker(mirror.url)
        fill(hub, attacker)
        if mode == "both":
            assert CANARY in attacker.get("/acme/gated-auto/resolve/main/notes.txt").body
            assert CANARY in attacker.get("/acme/secret/resolve/main/notes.txt").body
        others = {who: headers for who, headers in OTHERS.items() if mode == "passthrough" or headers.get("Authorization", "").startswith("B")}
        assert not given_away(hub, attacker, others), mode
        assert b"organisation" not in attacker.get("/api/whoami-v2").body
        assert attacker.get("/acme/tiny-bert/resolve/main/model.safetensors").status == 200
        hub.go_down()
        try:
            assert not given_away(hub, attacker, others), f"{mode}, in an outage"
        finally:
            hub.come_back()
    finally:
        mirror.stop()
        for repo in hub.world.repos.values():
            repo.tokens_allowed.discard(SERVICE)
    assert not carried(b"".join(wire_text(call) for call in hub.requests.where(origin="cdn")), {"service": SERVICE})
    assert SERVICE not in mirror.log.read_text(encoding="utf-8")
    assert not [path for path in (mirror.folder / "data").rglob("*") if path.is_file() for text in on_disk(path) if carried(text, {"service": SERVICE})]


def test_service_mode_sends_nobodys_token_but_its_own(hub: StandInHub, tmp_path: Path) -> None:
    """With `credentials: service` no caller's token leaves the mirror, and whoami is nobody's business."""
    config = upstream_config(hub)
    config["hubs"]["huggingface"] |= {"token": SERVICE, "credentials": "service"}
    mirror = MirrorProcess(tmp_path / "m", config).start()
    hub.requests.clear()
    try:
        attacker = Attacker(mirror.url)
        for target in FILES:
            for headers in OTHERS.values():
                attacker.send(by(Probe(target), headers))
        assert attacker.get("/api/whoami-v2").status == 401
    finally:
        mirror.stop()
    sent = {call.headers.get("Authorization") for call in hub.requests}
    assert sent <= {None, f"Bearer {SERVICE}"}
    assert all(re.match("hub", call.origin) or call.headers.get("Authorization") is None for call in hub.requests)
