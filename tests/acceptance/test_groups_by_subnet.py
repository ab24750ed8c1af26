"""Clients that send no credential are told apart by where they sit: Ollama above all."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from tests.support.mirror import running_mirror
from tests.support.standin import StandInHub

pytestmark = pytest.mark.acceptance

POLICY = """version: 1
rules:
  - {id: no-gguf, when: {file: ["*.gguf"]}, for: {groups: [contract]}, effect: deny, legal: true}
"""
GROUPS = {"contract": {"subnets": ["127.0.0.2/32"]}, "office": {"subnets": ["127.0.0.3/32"]}}
MODEL = "/v2/quantbarn/solid-7b-merge-GGUF"
OLLAMA = {"User-Agent": "ollama/0.34.1 (amd64 linux) Go/go1.25", "Accept": "application/vnd.docker.distribution.manifest.v2+json"}


def test_ollama_is_judged_by_its_subnet(hub: StandInHub, tmp_path: Path):
    """The same pull without any credential succeeds from one subnet and is refused, manifest and blob, from another, by its group on the record."""
    with running_mirror(tmp_path / "m", hub, policy=POLICY, clients={"groups": GROUPS}) as mirror:

        def asked(source: str, target: str) -> tuple[int, bytes]:
            connection = http.client.HTTPConnection("127.0.0.1", mirror.port, timeout=30, source_address=(source, 0))
            connection.request("GET", target, headers=OLLAMA)
            answer = connection.getresponse()
            return answer.status, answer.read()

        status, body = asked("127.0.0.3", f"{MODEL}/manifests/Q4_K_M")
        assert status == 200
        layer = max(json.loads(body)["layers"], key=lambda one: one["size"])
        blob = f"{MODEL}/blobs/{layer['digest']}"
        assert [asked("127.0.0.3", blob)[0], asked("127.0.0.2", blob)[0]] == [200, 451]
        status, body = asked("127.0.0.2", f"{MODEL}/manifests/Q4_K_M")
        assert status == 451
        assert "no-gguf" in json.loads(body)["error"]
        refused = [event for event in mirror.events() if event["kind"] == "refused"]
        assert {tuple(event["actor"]["groups"]) for event in refused} == {("contract",)}
