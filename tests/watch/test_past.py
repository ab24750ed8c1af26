"""What is on the record follows from the record and the archive, and what does not is found and named."""

from __future__ import annotations

import asyncio
import json

import pytest

from mirror.audit.chain import Head
from mirror.audit.check import check
from mirror.audit.record import GENESIS, leaf_hash
from mirror.audit.segments import segments, write_head
from mirror.core.canonical import canonical
from mirror.core.findings import Finding
from mirror.policy.reviewed import subject_digest, subject_of
from mirror.store.archive import EvidenceArchive
from mirror.watch.archived import ArchivedRules
from mirror.watch.past import recompute, records
from tests.support.past import CONTRACT, NOBODY, START, VISITOR, past


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """Decisions of every kind, under two policies."""
    folder = tmp_path_factory.mktemp("past")

    async def live():
        async with past(folder) as one:
            for name in ("globex/solid#model.safetensors", "acme/tiny#x.pkl", "acme/tiny#model.safetensors", "umbrella/x#config.json"):
                for actor in (CONTRACT, VISITOR, NOBODY):
                    await one.ask(name, actor)
            await one.ask("acme/tiny#x.pkl", NOBODY)
            await one.activate("version: 1\nrules: [{id: other, when: {publisher.country: [CN]}, effect: quarantine}]\n")
            await one.ask("globex/solid#model.safetensors", CONTRACT)

    asyncio.run(live())
    return folder


def verified(folder):
    async def all_of_them():
        rules = ArchivedRules(EvidenceArchive(folder / "data" / "evidence"))
        return [one async for one in recompute(folder / "data" / "ledger", rules)]

    return asyncio.run(all_of_them())


def test_every_decision_follows_from_record_and_archive(installation):
    """Allowed, refused and held decisions under two policies, with a list, a group and networks, recompute to the same."""
    found = verified(installation)
    assert [(one.deviations, one.missing) for one in found] == [((), "")] * 13
    kinds = {record["kind"] for record in records(installation / "data" / "ledger") if "decision" in record}
    assert kinds == {"allowed", "refused", "held"}


def resealed(source, target, change):
    """A copy of an installation whose records `change` altered, with a chain that is whole again."""
    import shutil

    shutil.copytree(source, target)
    (segment,) = segments(target / "data" / "ledger")
    previous, lines = GENESIS, []
    for line in segment.path.read_bytes().splitlines():
        record = json.loads(line)
        change(record)
        record.pop("leaf")
        record["prev"] = previous
        previous = leaf_hash(canonical(record))
        lines.append(canonical({**record, "leaf": previous}) + b"\n")
    segment.path.write_bytes(b"".join(lines))
    with (target / "data" / "ledger" / "head").open("r+b") as head:
        write_head(head.fileno(), Head(len(lines), previous))
    assert check(target / "data" / "ledger").fault is None
    return target


CHANGES = {
    "effect": (lambda d: d.update(effect="allow"), "effect"),
    "rules": (lambda d: d["rules"][0].update(id="another"), "rules"),
    "basis": (lambda d: d["rules"][0].update(basis="another"), "rules"),
    "sentence": (lambda d: d.update(sentence="Blocked by policy rule 'origin-cn': it is not."), "sentence"),
    "would": (lambda d: d.update(would="warn"), "would"),
    "suggestion": (lambda d: d.update(suggestions=[]), "suggestions"),
    "status": (lambda d: d.update(status=200), "status"),
    "artifact": (lambda d: d.update(artifact="pkg:huggingface/acme/other#model.safetensors"), "facts.publisher"),
    "publisher": (lambda d: d["facts"]["publisher"].update(value="acme"), "facts.publisher"),
    "origin": (lambda d: d["facts"]["origin"].update(value=["GB"]), "facts.origin"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_planted_change_is_found_and_named(installation, tmp_path, change):
    """A record altered and resealed, so that the chain verifies, is named with the part that does not follow; no other is."""
    wanted = next(r["seq"] for r in records(installation / "data" / "ledger") if r.get("decision", {}).get("effect") == "deny")
    alter, part = CHANGES[change]

    def planted(record):
        if record["seq"] == wanted:
            alter(record["decision"])

    found = [one for one in verified(resealed(installation, tmp_path / "copy", planted)) if one.deviations or one.missing]
    assert [one.sequence for one in found] == [wanted]
    assert part in {one.part for one in found[0].deviations}


def test_an_allowed_download_in_place_of_a_refusal_is_found(installation, tmp_path):
    """A refusal made into a whole, consistent permission - kind, effect, status, rules, sentence - does not follow either."""
    def planted(record):
        if record.get("decision", {}).get("effect") == "deny":
            record["kind"] = "allowed"
            record["decision"].update(effect="allow", would="allow", status=200, rules=[], suggestions=[], sentence="Permitted: no rule objects to it.")

    found = [one for one in verified(resealed(installation, tmp_path / "copy", planted)) if one.deviations]
    assert len(found) == 4
    assert all({"effect", "rules", "kind"} <= {row.part for row in one.deviations} for one in found)


def test_erased_addresses_leave_decisions_recomputable(installation, tmp_path):
    """A rule on networks is judged as it was although the address is gone: the record has the networks, not the address."""
    import shutil

    shutil.copytree(installation, tmp_path / "copy")
    (segment,) = segments(tmp_path / "copy" / "data" / "ledger")
    segment.personal.write_bytes(b"")
    held = [r for r in records(tmp_path / "copy" / "data" / "ledger") if r["kind"] == "held" and r["decision"]["actor"].get("networks")]
    assert held
    assert all(record["actor"]["address"] is None for record in held)
    assert not [one for one in verified(tmp_path / "copy") if one.deviations or one.missing]


@pytest.mark.parametrize("kind", ["policy", "catalogue", "list", "rulebook", "lineage"])
def test_what_the_archive_has_lost_is_named(installation, tmp_path, kind):
    """Without a piece of evidence a decision is not waved through: it is named with what is missing."""
    import shutil

    shutil.copytree(installation, tmp_path / "copy")
    for path in (tmp_path / "copy" / "data" / "evidence").rglob("*"):
        if path.is_file() and f" {kind} ".encode() in path.read_bytes()[:80]:
            path.unlink()
    found = verified(tmp_path / "copy")
    assert all(one.missing.startswith(kind) and "is not in the evidence archive" in one.missing for one in found)


def test_a_reviewers_finding_is_part_of_what_judged(tmp_path):
    """A match that a reviewer called false decides nothing from then on (the owner is unknown); decisions before and after recompute."""
    async def live():
        async with past(tmp_path) as one:
            await one.ask("umbrella/x#config.json", VISITOR)
            (entry,) = (entry for entry in one.rulebook.current.lists["house"].entries if entry.name == "Umbrella Trading")
            digests = entry.digest, "false_match", "u:9", START, "another company"
            await one.find(Finding("01J8ZQ4Y3S5T6V7W8X9YABCDEF", subject_of(None, "umbrella"), subject_digest(None, "umbrella"), "house", entry.id, *digests))
            await one.ask("umbrella/x#config.json", VISITOR)

    asyncio.run(live())
    found = [r["decision"] for r in records(tmp_path / "data" / "ledger") if "decision" in r]
    assert [([m.get("finding") for m in one["matches"]], one["rules"][0].get("unknown")) for one in found] == [([None], None), (["false_match"], "publisher")]
    assert [(one.deviations, one.missing) for one in verified(tmp_path)] == [((), "")] * 2
