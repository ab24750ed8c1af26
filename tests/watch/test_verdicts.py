"""Verdicts that change after a file was handed out: found, told once, with who has it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from structlog.testing import CapturingLogger

from mirror.audit.feed import catch_up
from mirror.core.actor import Actor
from mirror.core.decision import RequestInfo
from mirror.core.nouns import HUGGINGFACE, Artifact, Kind, Project
from mirror.policy.lineage import Edge, Lineage, StatedEdge
from mirror.watch.verdicts import Verdicts
from tests.hubs.huggingface.conftest import mirror_of
from tests.support.standin.hub import StandInHub

RULES = """version: 1
rules:
  - {id: line, when: {ancestor: {any: ["globex/*"]}}, effect: deny, on_unknown: allow}
"""


def model(name):
    return Project(HUGGINGFACE, Kind.MODEL, name, "huggingface")


@pytest.fixture
async def world(tmp_path):
    """A mirror that handed acme/start, made from acme/middle, to two clients, and what looks for changes in it."""
    async with StandInHub() as hub:
        middle = None
        for name, parents in (("globex/root", ()), ("acme/middle", ()), ("acme/start", ("acme/middle",)), ("acme/apart", ())):
            tags = [f"base_model:finetune:{parent}" for parent in parents]
            repo = hub.add_repo("model", name, {"README.md": b"# A model\n"}, tags=tags)
            middle = repo if name == "acme/middle" else middle
        async with mirror_of(hub, tmp_path, RULES) as mirror:
            info = RequestInfo("r", "GET", "/x", "test")
            for name, who in (("acme/start", "u:1"), ("acme/start", "u:2"), ("acme/apart", "u:3")):
                page = await mirror.hub.page_of(Artifact(model(name), "", "README.md"), None)
                admission = await mirror.gateway.admit(Actor(who, ("research",)), page.artifact("README.md"), info)
                await admission.ticket.durable()
            index = mirror.gateway.grants
            await catch_up(tmp_path / "ledger", index)
            state = {"epoch": None, "counted": 0}

            def counted():
                state["counted"] += 1

            def verdicts():
                clock = mirror.clock
                return Verdicts(
                    mirror.gateway.describe, ["elsewhere", "huggingface"], lambda: state["epoch"] or mirror.gateway.epoch, index, mirror.gateway.recorder._ledger, clock, counted
                )  # fmt: skip

            yield mirror, middle, verdicts, state, index


async def test_a_card_that_changes_names_who_has_the_file(world, tmp_path, monkeypatch):
    """A parent that declares a denied base later: one event and one log line for the file, naming both holders, and never again."""
    mirror, middle, verdicts, state, index = world
    look = verdicts()
    assert await look.look() == []
    middle.tags.append("base_model:finetune:globex/root")
    logs = CapturingLogger()  # its own: the process's may be bound to what an earlier test set up
    monkeypatch.setattr("mirror.watch.verdicts._LOG", logs)
    for _ in range(2):
        mirror.pass_time(minutes=2)
        await look.look()
        await asyncio.sleep(0.3)
    await look.look()
    events = mirror.events("changed")
    assert len(events) == state["counted"] == 1
    assert events[0]["subject"].startswith("pkg:huggingface/acme/start@")
    detail = events[0]["detail"]
    assert (detail["effect"], detail["rules"], detail["clients"], detail["groups"]) == ("deny", ["line"], 2, ["research"])
    assert "globex/root" in detail["reason"]
    handed = {event["decision"]["id"] for event in mirror.events("allowed") if "/start@" in event["decision"]["artifact"]}
    assert set(detail["decisions"]) == handed
    assert [one.kwargs["holders"] for one in logs.calls if one.args == ("verdict_changed",)] == [["u:1", "u:2"]]
    await catch_up(tmp_path / "ledger", index)
    assert await verdicts().look() == []  # a mirror that was started anew has told it too


async def test_a_shipped_lineage_that_is_renewed_is_looked_at_without_a_request(world):
    """An edge that the next edition states refuses what was handed out under the one before, and only that."""
    mirror, _, verdicts, state, _ = world
    stated = [StatedEdge(model("acme/middle"), Edge(model("globex/root"), "finetune", "catalogue", 9_000))]
    state["epoch"] = replace(mirror.gateway.epoch, lineage=Lineage.build(stated))
    found = await verdicts().look()
    assert [(str(one.artifact.project.name), one.rules, len(one.cases)) for one in found] == [("acme/start", ["line"], 2)]
