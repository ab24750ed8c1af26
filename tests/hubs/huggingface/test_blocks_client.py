"""`upstream.blocks_client`: what the hub withholds from where we are, nobody gets from the cache either (P11)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml

from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.errors import Refused
from mirror.core.facts import Fact
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from tests.support.standin.defaults import ALICE, BOB
from tests.support.standin.hub import StandInHub

from .conftest import Mirror, mirror_of

PROFILES = Path(__file__).resolve().parents[3] / "config" / "profiles"
REPO = "acme/tiny-bert"
FILE = f"/{REPO}/resolve/main/pytorch_model.bin"


def region_rule(profile: str) -> str:
    """A policy of that profile's one rule on region blocks, and what the profile says of the unknown."""
    whole = yaml.safe_load((PROFILES / profile / "policy.yaml").read_text())
    rules = [rule for rule in whole["rules"] if rule["when"].get("upstream.blocks_client")]
    return yaml.safe_dump({"version": 1, "defaults": {**whole["defaults"], "action": "allow"}, "rules": rules})


async def withheld(mirror: Mirror, *statuses: int) -> None:
    """No route and no caller gets the file or its name."""
    targets = [FILE, f"/{REPO}/raw/main/pytorch_model.bin", f"/api/models/{REPO}/safetensors-metadata/model.safetensors"]
    for token in (None, ALICE, BOB):
        for target in targets:
            answer = await mirror.get(target, token)
            assert answer.status in statuses, (target, answer.status)
        assert (await mirror.get(FILE, token, "HEAD")).status in statuses
        assert (await mirror.get(FILE, token, Range="bytes=0-9")).status in statuses


@pytest.mark.parametrize("profile", sorted(path.name for path in PROFILES.iterdir() if path.is_dir()))
async def test_each_profile_passes_the_hubs_block_on(standin: StandInHub, tmp_path: Path, profile: str) -> None:
    """With any profile's rule, cached bytes are 451 to every client once the hub blocks us, also with the hub gone, and served again after."""
    async with mirror_of(standin, tmp_path, region_rule(profile)) as mirror:
        assert (await mirror.get(FILE)).status == 200
        standin.repo(REPO).region_block = ["US"]
        mirror.pass_time(minutes=6)
        await withheld(mirror, 451)
        answer = await mirror.get(FILE)
        assert "is withheld by its hub from this country" in answer.headers["X-Error-Message"]
        assert mirror.events("refused")[-1]["decision"]["facts"]["blocked_countries"]["value"] == ["*"]
        standin.repo(REPO).region_block = []
        mirror.pass_time(minutes=6)
        assert (await mirror.get(FILE)).status == 200
        standin.repo(REPO).region_block = ["US"]
        mirror.pass_time(minutes=6)
        await withheld(mirror, 451)
        await standin.stop()
        mirror.pass_time(hours=2)
        await withheld(mirror, 451)


@pytest.mark.parametrize("status", [403, 451])
async def test_without_a_rule_the_hubs_own_no_stands(standin: StandInHub, mirror: Mirror, status: int) -> None:
    """No rule is needed to keep the block: the hub's refusal, as 403 or as 451, is given from a warm cache, and in an outage."""
    assert (await mirror.get(FILE)).status == 200
    if status == 403:
        standin.repo(REPO).region_block = ["*"]
    else:
        standin.faults.add("status", f"/{REPO}/resolve/*", status=451)
    mirror.pass_time(minutes=6)
    await withheld(mirror, status)
    assert "region" in [event["detail"]["cause"] for event in mirror.events("hub_refused")]
    await standin.stop()
    mirror.pass_time(hours=2)
    await withheld(mirror, status)


@pytest.mark.parametrize(("country", "refused"), [("RU", True), ("US", False), (None, True)])
async def test_a_named_country_is_refused_and_an_unknown_one_too(standin: StandInHub, tmp_path: Path, country: str | None, refused: bool) -> None:
    """Where countries are named, clients there are refused, others served, and one whose country nobody knows refused."""
    async with mirror_of(standin, tmp_path, region_rule("outbound")) as mirror:
        artifact = Artifact(Project(HUGGINGFACE, Kind.MODEL, REPO, "huggingface"), standin.repo(REPO).head, "config.json")
        facts = await mirror.hub.describe(artifact, None, frozenset({"blocked_countries"}))
        assert facts.blocked_countries == Fact((), "the hub's answer to a request for a file", "A")
        named = dataclasses.replace(facts, blocked_countries=Fact(("RU", "CU"), "the hub"))
        actor = Actor("somebody", country=country, country_source="address" if country else "")
        try:
            await mirror.gateway.admit(actor, artifact, RequestInfo("1", "GET", "/", ""), facts=named)
        except Refused as no:
            assert refused, no
            assert no.decision.status in (403, 451)
        else:
            assert not refused



async def test_a_block_is_remembered_for_the_country_it_was_met_in(standin: StandInHub, tmp_path: Path) -> None:
    """Refused in one country and answered in another, the mirror serves clients elsewhere and refuses those in the first one."""
    needs = frozenset({"blocked_countries"})
    artifact = Artifact(Project(HUGGINGFACE, Kind.MODEL, REPO, "huggingface"), standin.repo(REPO).head, "config.json")
    standin.repo(REPO).region_block = ["US"]
    async with mirror_of(standin, tmp_path, country="US") as mirror:
        await withheld(mirror, 403)
    standin.region = "CA"
    rule = region_rule("outbound")
    async with mirror_of(standin, tmp_path, rule, country="CA") as mirror:
        mirror.pass_time(minutes=6)
        facts = await mirror.hub.describe(artifact, None, needs)
        assert facts.blocked_countries == Fact(("US",), "the hub's refusal when it was asked from there")
        assert (await mirror.gateway.judge(Actor("there", country="US"), artifact, facts)).effect.word == "deny"
        assert (await mirror.gateway.judge(Actor("here", country="CA"), artifact, facts)).effect.serves
        assert not (await mirror.gateway.judge(Actor("somewhere"), artifact, facts)).effect.serves
        assert (await mirror.get(FILE)).status in (403, 451), "nobody knows where this client is"
    standin.region, standin.repo(REPO).region_block = "US", []
    async with mirror_of(standin, tmp_path, rule, country="US") as mirror:
        mirror.pass_time(minutes=12)
        assert (await mirror.hub.describe(artifact, None, needs)).blocked_countries == Fact((), "the hub's answer to a request for a file")
        assert (await mirror.get(FILE)).status == 200
