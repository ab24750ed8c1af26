"""What another edition of a list changes for those who were asked for: noticed while running, at a start, and once."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mirror.audit.feed import catch_up
from mirror.audit.ledger import SegmentLedger
from mirror.audit.segments import Reader
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import Artifact, Kind, Project
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.epoch import Epoch
from mirror.policy.lineage import Lineage
from mirror.policy.screening import ListEntry, ScreeningList
from mirror.watch.rescreen import FILE, Rescreening, read_outcome
from tests.audit.samples import NOW, SteppingClock, allowed
from tests.policy.builders import publisher
from tests.support.database import index_in

UMBRELLA = publisher("umbrella", "Umbrella Research", "GB")
CATALOGUE = Catalogue.build([Stated(UMBRELLA, confidence="A")])
OLD = (ListEntry("1", "Umbrella Research"), ListEntry("2", "Nobody Here"))
NEW = (ListEntry("2", "Nobody Here"), ListEntry("3", "Globex"), ListEntry("4", "Never Asked For"))


def epoch(edition, entries, number=1):
    lists = {"house": ScreeningList("house", edition, entries, "m", "both", digest=edition)}
    return Epoch(number, compile_policy([("p", "version: 1\nrules: []\n")], CATALOGUE, Lineage([]), lists), CATALOGUE, Lineage([]), lists)


@pytest.fixture
async def world(tmp_path):
    """An index and a ledger in which Umbrella (known) and globex (a stranger) were asked for."""
    clock = SteppingClock()
    ledger = SegmentLedger(tmp_path / "ledger", clock, reserve=0)
    await ledger.start({})
    asked = [
        (Facts(publisher=Fact(UMBRELLA)), Artifact(Project("huggingface", Kind.MODEL, "umbrella/a"), "c" * 40, "x")),
        (Facts(), Artifact(Project("huggingface", Kind.MODEL, "globex/b"), "c" * 40, "x")),
    ]
    for number, (facts, artifact) in enumerate(asked):
        made = replace(allowed().decision, id=f"01K{number:023d}", facts=facts, artifact=artifact, at=NOW + timedelta(hours=number))
        await ledger.record(replace(allowed(), decision=made)).durable()
    index = await index_in(tmp_path)
    await catch_up(tmp_path / "ledger", index)
    yield Rescreening(index, ledger, clock, tmp_path), tmp_path
    await index.close()
    await ledger.close()


def told(folder):
    """The details of every `screened` event."""
    records = Reader(folder / "ledger", 0).read(1000)
    return [record["detail"] for record in records if record["kind"] == "screened"]


EXPECTED = [("globex", "3", "appeared"), ("umbrella", "1", "gone")]


def shown(changes):
    return sorted((one["subject"].rpartition(":")[2], one["entry"], one["change"]) for one in changes)


async def test_the_first_look_remembers_and_says_nothing(world):
    """Without an earlier outcome there is nothing to compare with; the next look at the same editions does nothing at all."""
    screening, folder = world
    assert await screening.look(None, epoch("1", OLD)) == []
    assert told(folder) == []
    assert [row["subject"] for row in read_outcome(folder / FILE)["standing"]] == ["umbrella"]
    assert await screening.look(None, epoch("1", OLD)) is None


@pytest.mark.parametrize("running", [True, False])
async def test_another_edition_is_told_once_whether_a_server_ran_or_not(world, running):
    """Who appeared and who went, of those who were asked for only; on the record with the editions, and in the file."""
    screening, folder = world
    old, new = epoch("1", OLD), epoch("2", NEW, 2)
    await screening.look(None, old)
    found = await screening.look(old if running else None, new)
    assert shown([one.row() for one in found]) == EXPECTED
    [detail] = told(folder)
    assert shown(detail["changes"]) == EXPECTED
    assert (detail["lists"], detail["seen"], detail["changed"]) == ({"house": "2"}, 2, 2)
    assert [row["name"] for row in detail["changes"]] == ["Globex", "Umbrella Research"]
    assert shown(read_outcome(folder / FILE)["changes"]) == EXPECTED
    assert await screening.look(None, new) is None


async def test_a_file_that_cannot_be_read_is_a_first_look(world):
    """A cut or foreign `screened.json` is made anew and accuses nobody of anything."""
    screening, folder = world
    for text in ("{", "[]", json.dumps({"at": "x"})):
        (folder / FILE).write_text(text)
        assert await screening.look(None, epoch("2", NEW)) == []
    assert told(folder) == []
