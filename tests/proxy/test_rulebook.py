"""Rules that change while the mirror runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.core.errors import InputError
from mirror.proxy.rulebook import Rulebook, RuleSources, load_epoch
from tests.lists.rows import row

NOTHING = "version: 1\nrules: []\n"
DENY = "version: 1\nrules: [{id: no-acme, when: {artifact: ['acme/*']}, effect: deny}]\n"


def book(folder: Path) -> Rulebook:
    (folder / "policy.yaml").write_text(NOTHING)
    return Rulebook(RuleSources(folder / "policy.yaml", [], {}), lambda: datetime.now(UTC))


def test_a_list_that_cannot_be_read_is_no_fault_of_the_rules_that_name_it(tmp_path):
    """All faults are told at once, each where it is: not the rule that names the broken list, and no test that would need it."""
    (tmp_path / "house.csv").write_text("name,country\nAcme,XX\n")
    tests = "tests: [{name: t, given: {artifact: acme/x}, expect: {effect: deny}}]\n"
    (tmp_path / "policy.yaml").write_text("version: 1\nrules: [{id: r, when: {list_match: house}, effect: deny}]\n" + tests)
    with pytest.raises(InputError) as failed:
        load_epoch(tmp_path / "policy.yaml", (), {"house": row("csv", tmp_path / "house.csv")})
    [told] = map(str, failed.value.problems)
    assert told.endswith("house.csv: line 2: country: 'XX' is not an ISO 3166-1 alpha-2 code")


async def test_rules_are_archived_before_they_are_in_force(tmp_path):
    """A decision never cites a policy that is not in the archive yet (P7): what keeps it is done before the first judgement."""
    rules = book(tmp_path)
    before, seen = rules.current, []

    async def changed(epoch):
        seen.append((epoch.number, rules.current is before))

    (tmp_path / "policy.yaml").write_text(DENY)
    await rules.refresh(changed, changed)

    assert seen == [(2, True)]
    assert [rule.id for rule in rules.current.policy.rules] == ["no-acme"]


async def test_rules_that_could_not_be_archived_are_tried_again(tmp_path):
    """A full disk at the moment of a change delays it and is shown as a problem; the watch does not end, and the change comes."""
    rules, failures, archive = book(tmp_path), [], tmp_path / "evidence"
    archive.write_text("a file where the archive's folder should be")

    async def changed(epoch):
        (archive / "policy").write_text("kept")

    async def failed(error):
        failures.append(error)

    (tmp_path / "policy.yaml").write_text(DENY)
    await rules.refresh(changed, failed)
    held_back = (rules.current.number, len(rules.problems), len(failures))
    archive.unlink()
    archive.mkdir()
    await rules.refresh(changed, failed)

    assert held_back == (1, 1, 1)
    assert (rules.current.number, rules.problems) == (2, ())


async def test_a_request_is_judged_under_the_rules_with_which_it_began(tmp_path):
    """Rules that change in the middle of a request change what follows it, not the half that is left of it."""
    rules = book(tmp_path)

    async def ignore(_):
        pass

    async def request():
        rules.begin()
        first = rules.judging
        (tmp_path / "policy.yaml").write_text(DENY)
        await rules.refresh(ignore, ignore)
        return first is rules.judging, rules.current.number

    assert await asyncio.create_task(request()) == (True, 2)
    assert rules.judging is rules.current
