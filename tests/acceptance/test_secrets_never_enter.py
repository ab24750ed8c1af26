"""Secrets never enter: whatever kind of secret a client sends, wherever a client can put it, no part of the record has it."""

from __future__ import annotations

import base64
import string
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.acceptance.probe import Attacker, Probe
from tests.acceptance.test_credentials import carried, on_disk
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin import StandInHub, StandInIndex, populate, populate_index, running

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]

POLICY = "version: 1\nrules:\n  - {id: no, when: {file: [config.json]}, effect: deny}\n"
LETTERS = st.text(string.ascii_letters + string.digits, min_size=24, max_size=40)
#: Secrets that announce themselves, wherever they stand.
ANNOUNCED = st.one_of(
    *(LETTERS.map(lambda text, lead=lead: f"{lead}{text}") for lead in ("hf_", "hf_mir", "api_org_", "ghp_", "github_pat_", "glpat-", "pypi-Ag")),
    st.tuples(LETTERS, LETTERS, LETTERS).map(lambda parts: f"eyJ{parts[0]}.{parts[1]}.{parts[2]}"),
)
#: Names of parameters and places whose values are secret, whatever they look like.
TELLING = st.sampled_from(["token", "access_token", "X-Amz-Signature", "X-Amz-Security-Token", "Signature", "Key-Pair-Id", "sig", "api_key", "password", "client_secret"])
TARGETS = st.sampled_from(
    ["/acme/tiny-bert/resolve/main/model.safetensors", "/acme/tiny-bert/resolve/main/config.json", "/api/models/acme/tiny-bert", "/pypi/simple/acme-lib/", "/nowhere/x/y"]
)


def spelled(secret: str, escaped: list[bool]) -> str:
    """The secret in a URL, some of its characters escaped although they need not be (RFC 3986 section 2.3)."""
    return "".join(f"%{ord(letter):02X}" if escaped[at % len(escaped)] else quote(letter, safe="") for at, letter in enumerate(secret))


@st.composite
def requests(draw) -> tuple[str, Probe]:
    """A secret and a request that has it somewhere."""
    target, place = draw(TARGETS), draw(st.sampled_from(["bearer", "basic", "scheme", "cookie", "query", "telling", "agent", "referer", "path", "revision", "userinfo"]))
    secret = draw(LETTERS.map(lambda text: f"opaque{text}") if place in ("bearer", "basic", "scheme", "cookie", "telling", "userinfo") else ANNOUNCED)
    in_url = spelled(secret, draw(st.lists(st.booleans(), min_size=1, max_size=5)))
    match place:
        case "bearer":
            return secret, Probe(target, headers={"Authorization": f"Bearer {secret}"})
        case "basic":
            return secret, Probe(target, headers={"Authorization": "Basic " + base64.b64encode(f"user:{secret}".encode()).decode()})
        case "scheme":
            return secret, Probe(target, headers={"Authorization": secret})
        case "cookie":
            return secret, Probe(target, headers={"Cookie": f"session={secret}"})
        case "query":
            return secret, Probe(f"{target}?x={in_url}")
        case "telling":
            return secret, Probe(f"{target}?{draw(TELLING)}={in_url}")
        case "agent":
            return secret, Probe(target, headers={"User-Agent": f"tool/1 {secret}"})
        case "referer":
            return secret, Probe(target, headers={"Referer": f"https://user:{secret}@acme.example/?t={secret}"})
        case "path":
            return secret, Probe(f"/acme/tiny-bert/resolve/main/{in_url}")
        case "revision":
            return secret, Probe(f"/acme/tiny-bert/resolve/{in_url}/config.json")
    return secret, Probe(f"http://user:{secret}@localhost{target}")


def test_secrets_never_enter(tmp_path: Path) -> None:
    """Neither segments nor personal parts, index, sinks, log, nor any other file of the data folder has a secret that a client sent."""
    with running(populate(StandInHub())) as hub, running(populate_index(StandInIndex())) as index:
        sinks = [{"name": name, "to": f"file:{tmp_path / name}", "format": name} for name in ("native", "ocsf", "ecs", "cef")]
        mirror = MirrorProcess(tmp_path / "m", {**upstream_config(hub, index), "ledger": {"sinks": sinks}}, POLICY).start()
        planted: dict[str, str] = {}
        try:
            attacker = Attacker(mirror.url)

            @settings(max_examples=150, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck))
            @given(requests())
            def send(made: tuple[str, Probe]) -> None:
                secret, probe = made
                planted[secret] = secret
                ((_, answer),) = attacker.all([probe])
                assert answer.status < 500, (str(probe), answer.status)

            send()
            events = mirror.events()
        finally:
            mirror.stop()
        assert len(events) > 50 and len(planted) > 50
        places = [mirror.log, *(tmp_path / sink["name"] for sink in sinks), *(path for path in (mirror.folder / "data").rglob("*") if path.is_file())]
        assert (tmp_path / "ocsf").stat().st_size > 10_000
        found = [f"{path.relative_to(tmp_path)} holds {name}" for path in places for text in on_disk(path) for name in carried(text, planted)]
        assert not found, "\n".join(found)
