"""Retention, holds and erasure asked of a mirror that runs."""

from __future__ import annotations

import json

import pytest

from mirror.core.actor import network_of
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin import StandInHub, StandInIndex, populate, populate_index, running

POLICY = "version: 1\nrules:\n  - {id: no, when: {file: [config.json]}, effect: deny}\n"


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    with running(populate(StandInHub())) as hub, running(populate_index(StandInIndex())) as index:
        config = {
            **upstream_config(hub, index),
            "clients": {"groups": {"here": {"subnets": ["127.0.0.0/8"], "country": "US"}}},
            "ledger": {"retention": {"home": ["US"]}},
        }
        mirror = MirrorProcess(tmp_path_factory.mktemp("retention"), config, POLICY).start()
        yield mirror
        mirror.stop()


def test_a_permission_is_classed_and_its_address_is_cut(mirror):
    """Before a checkpoint the permission is called short-lived and the refusal is not; of the permitted client's address the network is kept."""
    assert mirror.get("/acme/tiny-bert/resolve/main/model.safetensors").status == 200
    assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 403
    mirror.command("ledger", "checkpoint")
    events = mirror.events()
    (window,) = (event["detail"] for event in events if event["kind"] == "classes")
    data = bytes.fromhex(window["short"])
    short = {window["since"] + at for at in range(8 * len(data)) if data[at // 8] >> at % 8 & 1}
    assert {event["kind"] for event in events if event["seq"] in short} == {"allowed"}
    addresses = {event["kind"]: event["actor"]["address"] for event in events if "decision" in event}
    assert addresses == {"allowed": network_of("127.0.0.1"), "refused": "127.0.0.1"}
    names = {event["actor"]["name"] for event in events if "decision" in event}
    (row,) = (json.loads(line) for line in mirror.command("ledger", "who", "127.0.0.1", "--json").stdout.splitlines()[1:])
    assert names == {row["pseudonym"]}


def test_hold_erase_and_expire_beside_it(mirror):
    """The running mirror adds the hold, refuses to erase what it covers, erases when it is lifted, and goes on serving a ledger that verifies."""
    hold = json.loads(mirror.command("hold", "add", "case 7", "--reason", "r", "--by", "alice", "--json").stdout)["id"]
    erase = ["ledger", "erase", "--actor", next(event["actor"]["name"] for event in mirror.events() if "decision" in event), "--reason", "r", "-y"]
    assert "case 7" in mirror.command(*erase, check=False).stderr
    mirror.command("hold", "lift", hold, "--reason", "r", "--by", "bob")
    assert mirror.command(*erase).stdout.startswith("2 personal parts")
    assert mirror.command("ledger", "expire", check=False).returncode == 1
    assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 403
    mirror.command("ledger", "verify")
    assert [event["kind"] for event in mirror.events() if event["actor"]["name"] is None] == ["allowed", "refused"]
