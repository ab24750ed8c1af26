"""Mirror tokens from the outside: real clients with them, every route with them, and where they must never appear."""

from __future__ import annotations

import http.client
import json
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from mirror.core.tokens import make
from tests.support.clients import HubClient, pip, run, uv
from tests.support.mirror import MirrorProcess, clean_environment, running_mirror
from tests.support.standin import StandInHub, StandInIndex
from tests.support.standin.defaults import ALICE, BOB

from .probe import Attacker, Probe

pytestmark = pytest.mark.acceptance

POLICY = """version: 1
rules:
  - {id: no-bin, when: {file: ["*.bin"]}, for: {groups: [contract]}, effect: deny, legal: true, basis: "house policy 1"}
"""
GROUPS = {
    "lab": {"country": "GB", "jurisdiction": ["GB"], "entity": "Acme Ltd", "hub_token": True},
    "contract": {"tokens": ["temp"]},
    "kiosk": {"subnets": ["127.0.0.9/32"], "anonymous": "allow"},
}
GATED = "/acme/gated-auto/resolve/main/weights.bin"


@dataclass(frozen=True)
class House:
    """A mirror that serves nobody unknown; `lab` and `temp` are tokens, the organisation's own at the hub is ALICE's."""

    mirror: MirrorProcess
    attacker: Attacker
    lab: str
    temp: str

    def made(self, name: str, *options: str) -> str:
        return str(json.loads(self.mirror.command("token", "create", name, "--json", *options).stdout)["token"])


@pytest.fixture(scope="module")
def house(hub: StandInHub, index: StandInIndex, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    options = {"huggingface": {"token": ALICE, "unknown_routes": "forward"}}
    with running_mirror(
        tmp_path_factory.mktemp("house") / "m", hub, index, POLICY, clients={"groups": GROUPS, "anonymous": "deny"}, hubs=options
    ) as mirror:
        house = House(mirror, Attacker(mirror.url), "", "")
        lab, temp = house.made("team-lab", "--group", "lab", "--note", "CI of the lab"), house.made("temp", "--expires", "12h")
        eventually(lambda: mirror.get("/api/models/acme/tiny-bert", headers=bearer(temp)).status == 200)
        yield House(mirror, house.attacker, lab, temp)


def eventually(holds: Callable[[], bool]) -> None:
    """Ask again until it holds; a minute is no promise, it only ends a broken test."""
    for _ in range(300):
        if holds():
            return
        time.sleep(0.2)
    raise AssertionError("did not come to hold within a minute")


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str, user: str = "__token__") -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{user}:{token}".encode()).decode()}


def test_who_has_a_token_is_in_its_groups(house: House) -> None:
    """As Bearer and as a password, a token puts its holder into the groups it was made for and those that name it, and opens the gate where a group may."""
    for how in (bearer, basic):
        assert house.mirror.get(GATED, headers=how(house.lab)).status == 200
        assert house.mirror.get(GATED, headers=how(house.temp)).status == 451
        assert house.mirror.get("/acme/gated-auto/resolve/main/config.json", headers=how(house.temp)).status in (401, 403)
        assert house.mirror.get("/pypi/simple/acme-lib/", headers=how(house.temp)).status == 200
    events = house.mirror.events()
    refused = [event for event in events if event["kind"] == "refused"]
    assert {(tuple(event["actor"]["groups"]), event["actor"]["name"][:2]) for event in refused} == {(("contract",), "m:")}
    allowed = [event for event in events if event["kind"] == "allowed" and event["actor"]["groups"] == ["lab"]]
    assert {(event["actor"]["country"], event["actor"]["country_source"]) for event in allowed} == {("GB", "group")}


UNKNOWN = (
    "/acme/tiny-bert/resolve/main/config.json", "/api/models/acme/tiny-bert", "/api/whoami-v2", "/pypi/simple/acme-lib/", "/simple/acme-lib/",
    "/v2/quantbarn/solid-7b-merge-GGUF/manifests/Q4_K_M", "/acme/tiny-bert.git/info/refs?service=git-upload-pack", "/nowhere",
)  # fmt: skip


def test_nobody_unknown_is_served(hub: StandInHub, house: House) -> None:
    """Without a credential that counts every route is 401, says which it wants in the fields that clients read, and asks nothing upstream."""
    hub.requests.clear()
    mistyped, foreign = house.lab[:-1] + ("a" if house.lab[-1] != "a" else "b"), make(b"o" * 32, bytes(32))
    shown = [{}, bearer(ALICE), basic("secret", "alice"), bearer(mistyped), basic(foreign), bearer(house.lab[:-3])]
    for target in UNKNOWN:
        for method in ("GET", "HEAD"):
            for headers in shown:
                answer = house.mirror.get(target, method=method, headers=headers)
                assert answer.status == 401, (method, target, headers)
                assert answer.headers["WWW-Authenticate"].startswith('Basic realm="mirror", charset="UTF-8", Bearer realm="mirror"')
                assert answer.headers["Cache-Control"] == "no-store"
                assert answer.headers["X-Error-Code"] == "GatedRepo"
                assert "token" in answer.headers["X-Error-Message"]
    assert house.mirror.get("/api/models", headers=bearer(foreign)).json()["cause"] == "foreign"
    assert house.mirror.get("/-/health/live").status == 200
    assert not hub.requests


def test_a_subnet_may_be_exempt(house: House) -> None:
    """A group whose members need nothing is served by its address alone; who names such an address in a header is not."""
    connection = http.client.HTTPConnection("127.0.0.1", house.mirror.port, timeout=30, source_address=("127.0.0.9", 0))
    connection.request("GET", "/api/models/acme/tiny-bert")
    assert connection.getresponse().status == 200
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        assert house.mirror.get("/api/models/acme/tiny-bert", headers={name: "for=127.0.0.9" if name == "Forwarded" else "127.0.0.9"}).status == 401


def everything(hub: StandInHub) -> Iterator[Probe]:
    """A request for each row of both tables, and for what is in none."""
    commit = hub.repo("acme/tiny-bert").head
    lfs = {"operation": "download", "transfers": ["basic"], "objects": [{"oid": sha256(b"x").hexdigest(), "size": 1}]}
    for plural, name, file in (("models", "acme/tiny-bert", "model.safetensors"), ("datasets", "acme/reviews", "README.md"), ("spaces", "acme/demo", "app.py"), ("models", "acme/gated-auto", "config.json")):  # fmt: skip
        base, prefix = f"/api/{plural}/{name}", "" if plural == "models" else f"{plural}/"
        for tail in ("", "?blobs=true", "/revision/main", "/tree/main?recursive=true", "/refs", "/commits/main", "/auth-check", "/xet-read-token/main", "/parquet", "/runtime", "/logs/run", f"/safetensors-metadata/{file}", "/discussions", "/treesize/main"):  # fmt: skip
            yield Probe(base + tail)
        yield Probe(f"{base}/paths-info/main", "POST", {"Content-Type": "application/json"}, json.dumps({"paths": [file]}).encode())
        for verb in ("resolve", "raw", "blob"):
            yield Probe(f"/{prefix}{name}/{verb}/main/{file}")
            yield Probe(f"/{prefix}{name}/{verb}/main/{file}", "HEAD")
        yield Probe(f"/{prefix}{name}/resolve/main/{file}", headers={"Range": "bytes=0-3"})
        yield Probe(f"/{prefix}{name}/resolve/main/no-such-file")
        yield Probe(f"/{prefix}{name}.git/info/refs?service=git-upload-pack")
        yield Probe(f"/{prefix}{name}.git/info/lfs/objects/batch", "POST", {"Content-Type": "application/vnd.git-lfs+json"}, json.dumps(lfs).encode())
    yield Probe(f"/api/resolve-cache/models/acme/tiny-bert/{commit}/config.json")
    yield from map(Probe, (
        "/api/whoami-v2", "/api/models?limit=5", "/api/datasets", "/api/agent-harnesses", "/api/organizations/acme/overview", "/api/collections",
        "/api/daily_papers", "/papers/1.md", "/api/models-tags-by-type", "/api/telemetry/x", "/api/buckets/a/b", "/v2/", "/api/quicksearch?q=x",
        "/v2/quantbarn/solid-7b-merge-GGUF/manifests/Q4_K_M", f"/v2/quantbarn/solid-7b-merge-GGUF/blobs/sha256:{'0' * 64}", "/nowhere/x/y/z",
        "/pypi/simple/", "/pypi/simple/acme-lib/", "/simple/acme-lib/", "/pypi/pypi/acme-lib/json", "/pypi/integrity/acme-lib/1.0.0/x.whl/provenance",
        "/packages/source/a/acme-lib/acme_lib-1.0.0.tar.gz",
    ))  # fmt: skip
    yield Probe("/api/repos/create", "POST", {"Content-Type": "application/json"}, b"{}")


def worn(token: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(suffix of the target, fields): a token where it belongs, and where people put one by mistake."""
    foreign = make(b"o" * 32, bytes(32))
    for shown in (token, foreign, token[:-1], token[:-3], token + "x", token.lower()):
        yield "", bearer(shown)
        yield "", basic(shown)
    yield "", {"Authorization": f"token {token}"}
    yield "", {"Authorization": b64encode(f"a:{token}".encode()).decode()}
    yield "", {**bearer(token), "User-Agent": f"x; {token}", "Cookie": f"token={token}", "Referer": f"https://x/?t={token}", "X-Auth-Token": token, "Proxy-Authorization": f"Bearer {token}"}  # fmt: skip
    yield f"token={token}", bearer(token)
    yield f"token={token.replace('_', '%5f')}", {}


def test_no_route_carries_a_token_upstream(hub: StandInHub, index: StandInIndex, house: House) -> None:
    """Over every route, whole or broken, in its place or out of it, no byte of a mirror token reaches hub, CDN, CAS or index; the organisation's goes in its stead."""
    hub.requests.clear()
    index.requests.clear()
    probes = []
    for probe in everything(hub):
        for suffix, fields in worn(house.lab):
            target = probe.target + (("&" if "?" in probe.target else "?") + suffix if suffix else "")
            probes.append(Probe(target, probe.method, {**probe.headers, **fields}, probe.body))
    answers = house.attacker.all(probes, lines=16)
    assert not [str(probe) for probe, answer in answers if answer.status >= 500 and answer.status != 503]
    assert {answer.status for probe, answer in answers if "token=" in probe.target} == {400}
    seen = [*hub.requests, *index.requests]
    assert len(seen) > 60, "hardly anything was asked upstream, so hardly anything is proven"
    secret, wire = house.lab[6:20], [f"{call.raw_path}\n{dict(call.headers)}\n{call.body.decode('latin-1')}" for call in seen]
    forms = [secret, secret.lower(), "hf_mir", "hf%5fmir", *(b64encode(b"ab"[:at] + house.lab.encode()).decode()[4:-4] for at in range(3))]
    assert [(call.origin, call.raw_path) for call, text in zip(seen, wire, strict=True) for form in forms if form in text] == []
    lent = [call for call in seen if call.headers.get("Authorization") == f"Bearer {ALICE}"]
    assert {"gated-auto" in call.raw_path for call in lent} == {True, False}
    assert {call.origin for call in lent} == {"hub"}
    assert not [call for call in seen if "whoami" in call.raw_path]


def test_a_token_is_kept_nowhere(house: House) -> None:
    """Of all that a mirror writes - log, ledger, index, cache - nothing holds a token or the part of it that is left to chance."""
    listed = house.mirror.command("token", "list", "--all", "--json").stdout + house.mirror.command("token", "list").stdout
    told = house.mirror.command("ledger", "tail", "--json", "-n", "100000").stdout + house.mirror.command("config", "show").stdout
    for token in (house.lab, house.temp):
        parts = (token[6:20].encode(), b64encode(f"__token__:{token}".encode())[16:-4])
        files = [path for path in house.mirror.folder.rglob("*") if path.is_file()]
        assert len(files) > 10
        assert [path for path in files for part in parts if part in path.read_bytes()] == []
        assert not [part for part in parts if part.decode() in listed + told]


def test_revoked_is_revoked_within_seconds(house: House) -> None:
    """A token that was just served from memory is 401 soon after it is revoked, and every other one goes on."""
    token = house.made("leaver", "--group", "contract")
    target = "/acme/tiny-bert/resolve/main/config.json"
    eventually(lambda: house.mirror.get(target, headers=bearer(token)).status == 200)
    connection = http.client.HTTPConnection("127.0.0.1", house.mirror.port, timeout=30)

    def asked(who: str) -> int:
        connection.request("GET", target, headers=bearer(who))
        answer = connection.getresponse()
        answer.read()
        return answer.status

    assert [asked(token) for _ in range(20)] == [200] * 20
    assert house.mirror.command("token", "revoke", "leaver").stdout.endswith("leaver: revoked\n")
    began = time.monotonic()
    eventually(lambda: asked(token) == 401)
    assert time.monotonic() - began < 30, "within seconds; the bound is wide for a busy machine"
    assert [asked(token), asked(house.lab)] == [401, 200]
    assert "was revoked on" in house.mirror.get(target, headers=bearer(token)).headers["X-Error-Message"]
    assert house.mirror.command("token", "revoke", "leaver", check=False).returncode == 1


def test_the_real_client_takes_it_for_a_token(house: House, tmp_path: Path) -> None:
    """huggingface_hub logs in with a mirror token, is told who the mirror says it is, and downloads with it what is gated; without one it prints why not."""
    client = HubClient(Path(sys.executable), house.mirror.url, tmp_path / "with")
    said = client.hf("auth", "login", "--token", house.lab)
    assert said.code == 0, said.text
    script = (
        "import json; from huggingface_hub import HfApi, hf_hub_download as get; who = HfApi().whoami();"
        "print(json.dumps([who['name'], [org['name'] for org in who['orgs']], who['auth']['accessToken']['role'], get('acme/gated-auto', 'weights.bin')]))"
    )
    name, orgs, role, path = client.python_says(script).json()
    assert (name, orgs, role) == ("team-lab", ["lab"], "read")
    assert Path(path).stat().st_size > 0
    assert "team-lab" in client.hf("auth", "whoami").text
    nobody = HubClient(Path(sys.executable), house.mirror.url, tmp_path / "without")
    said = nobody.python_says("from huggingface_hub import hf_hub_download as get; get('acme/tiny-bert', 'config.json')")
    assert said.code != 0
    assert "show a mirror token" in said.text
    wrong = HubClient(Path(sys.executable), house.mirror.url, tmp_path / "wrong", make(b"o" * 32, bytes(32)))
    assert "made by another mirror" in wrong.python_says("from huggingface_hub import HfApi; HfApi().whoami()").text


def test_pip_and_uv_take_it_for_a_password(house: House, tmp_path: Path) -> None:
    """pip and uv install with a token as the index's password, from the URL and from netrc, and say what is missing without one."""
    host = urlsplit(house.mirror.url).netloc
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login anybody password {house.lab}\n")
    (tmp_path / ".netrc").chmod(0o600)
    netrc = {"NETRC": str(tmp_path / ".netrc")}
    plain, signed = f"http://{host}/pypi/simple/", f"http://__token__:{house.lab}@{host}/pypi/simple/"
    for number, (url, extra) in enumerate(((signed, {}), (plain, netrc))):
        done = pip(url, tmp_path, "download", "--no-deps", "-d", f"p{number}", "acme-lib", **extra)
        assert done.code == 0, done.text
        done = uv(url, tmp_path, "pip", "install", "--no-deps", "--target", f"u{number}", "acme-lib", **extra)
        assert done.code == 0, done.text
    asked = pip(plain, tmp_path, "download", "-vv", "-d", "x", "acme-lib", NETRC="/dev/null")
    assert (asked.code, "401 Client Error: This mirror serves nobody unknown" in asked.text) == (1, True), asked.text
    asked = uv(plain, tmp_path, "pip", "install", "--target", "x", "acme-lib", NETRC="/dev/null")
    assert (asked.code, "lack of valid authentication credentials (401" in asked.text) == (1, True), asked.text
    wrong = pip(f"http://x:{house.lab[:-1]}@{host}/pypi/simple/", tmp_path, "download", "-d", "x", "acme-lib")
    assert "401 Error, Credentials not correct" in wrong.text


def test_git_asks_for_it(house: House, tmp_path: Path) -> None:
    """git would prompt for a password, which the token is; with it git prints what the mirror has to say."""
    host = urlsplit(house.mirror.url).netloc
    environ = {**clean_environment(), "HOME": str(tmp_path), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
    nobody, somebody = (run(["git", "ls-remote", f"http://{user}{host}/acme/tiny-bert"], environ, tmp_path).text for user in ("", f"x:{house.temp}@"))
    assert "could not read Username" in nobody
    assert "hf download" in somebody


def test_a_token_needs_its_group(house: House, tmp_path: Path) -> None:
    """A token cannot be made for a group that is not configured, twice under a name, or with an end that is past: all said at once."""
    done = house.mirror.command("token", "create", "temp", "--group", "nobody", "--expires", "2020-01-01", check=False)
    assert done.returncode == 2
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["NAME", "--group", "--expires"]
    assert house.mirror.command("token", "revoke", house.temp, check=False).returncode == 2


def test_tokens_of_users_still_pass_through(hub: StandInHub, tmp_path: Path) -> None:
    """Where nobody needs a mirror token, a hub's own token goes to the hub as ever, and a mirror token that does not count is still 401."""
    with running_mirror(tmp_path / "m", hub, policy=POLICY) as mirror:
        assert mirror.get("/api/whoami-v2", headers=bearer(BOB)).json()["name"] == "bob"
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 200
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json", headers=bearer(make(b"o" * 32, bytes(32)))).status == 401
