"""Which hub a request reaches: by path, by the host's name, by the port."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.mirror import MirrorProcess, running_mirror
from tests.support.standin import StandInHub, running_hub, running_index

REPO = "/api/models/acme/tiny-bert"
TOKEN = "hf_PlantedTokenForTheFirstHub000000001"


@pytest.fixture(scope="module")
def hubs() -> Iterator[tuple[StandInHub, StandInHub]]:
    """The hub of everybody, and one of another house."""
    with running_hub() as ours, running_hub() as other:
        yield ours, other


@pytest.fixture(scope="module")
def second_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.fixture(scope="module")
def mirror(
    hubs: tuple[StandInHub, StandInHub], second_port: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MirrorProcess]:
    """A mirror of both; the second hub stands first in the file, with a host and a port of its own."""
    ours, other = hubs
    rows = {
        name: {"dialect": "huggingface", **alone, "upstreams": [other.url], "origins": [other.url, other.cdn_url]}
        for name, alone in {"named": {"hosts": ["hf2.corp"]}, "ported": {"port": second_port}}.items()
    }
    mine = {"huggingface": {"upstreams": [ours.url], "origins": [ours.url, ours.cdn_url]}}
    with running_index() as index, running_mirror(
        tmp_path_factory.mktemp("front"), index=index, hubs={**rows, **mine}
    ) as running:
        yield running


def hub_of(mirror: MirrorProcess, request_id: str) -> str:
    """The hub that answered a request, by the canonical log line."""
    lines = (json.loads(line) for line in mirror.log_lines() if f'"id":"{request_id}"' in line)
    return next(line["hub"] for line in lines if line["event"] == "request")


def test_a_hub_with_a_host_of_its_own_answers_there_and_nowhere_else(
    mirror: MirrorProcess, hubs: tuple[StandInHub, StandInHub]
) -> None:
    """The shared address never reaches the second hub, which so never sees the first one's tokens."""
    shared = mirror.get(REPO, headers={"Authorization": f"Bearer {TOKEN}"})
    own = mirror.get(REPO, headers={"Host": "hf2.corp"})

    assert (hub_of(mirror, shared.headers["X-Request-Id"]), hub_of(mirror, own.headers["X-Request-Id"])) == ("huggingface", "named")
    assert own.status == 200
    assert TOKEN not in str([seen.headers for seen in hubs[1].requests])


def test_a_hub_with_a_port_of_its_own_has_the_root_there(mirror: MirrorProcess, second_port: int) -> None:
    """Any name of this machine leads to it at its port, and the links of its listings stay there."""
    front = mirror.url
    mirror.url = f"http://127.0.0.1:{second_port}"
    try:
        found = mirror.get(REPO)
        page = mirror.get("/api/models?author=acme&limit=2")
    finally:
        mirror.url = front

    assert (found.status, hub_of(mirror, found.headers["X-Request-Id"])) == (200, "ported")
    assert f"<http://127.0.0.1:{second_port}/api/models?" in page.headers["Link"]


def test_the_port_tells_two_hubs_apart_also_while_answers_are_warm(
    mirror: MirrorProcess, hubs: tuple[StandInHub, StandInHub], second_port: int
) -> None:
    """Asked by one name at both ports, as a proxy in front of the mirror asks, each hub gives its own file of the same name."""
    hubs[1].repo("acme/tiny-bert").push({"config.json": b'{"house": "other"}'})
    target, front = "/acme/tiny-bert/resolve/main/config.json", mirror.url
    ours = [mirror.get(target, headers={"Host": "localhost"}).body for _ in range(3)]
    mirror.url = f"http://127.0.0.1:{second_port}"
    try:
        other = mirror.get(target, headers={"Host": "localhost"}).body
    finally:
        mirror.url = front
    assert other == b'{"house": "other"}'
    assert other not in ours


@pytest.mark.parametrize("first", ["pypi", "simple", "packages"])
def test_a_reserved_owner_is_told_how_it_is_reached(mirror: MirrorProcess, first: str) -> None:
    """The problem body of a reserved first segment says that `hosts:` leads to a Hugging Face owner of this name."""
    answer = mirror.get(f"/{first}/model/resolve/main/config.json")
    assert answer.status == 404
    assert "`hosts:`" in answer.json()["detail"]


OBSERVE = Path(__file__).parents[2] / "config" / "profiles" / "observe" / "policy.yaml"


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (OBSERVE.read_text(encoding="utf-8"), "Nothing is refused."),
        ("version: 1\ndefaults: {action: deny}\nrules: []\n", "Nothing is permitted"),
        ("version: 1\nrules: [{id: r, when: {artifact: x/y}, effect: deny}]\n", "1 rule is in force"),
    ],
    ids=["observe", "deny", "one rule"],
)
def test_the_landing_page_says_whether_anything_is_refused(tmp_path: Path, policy: str, said: str) -> None:
    """Profile observe is told from a policy that refuses, and from one that permits nothing."""
    with running_mirror(tmp_path, policy=policy) as running:
        assert said in running.get("/", headers={"Accept": "text/html"}).body.decode()
