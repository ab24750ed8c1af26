"""`mirror policy replay|diff|show|explain DECISION` over a real ledger and archive, without a server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from referencing import Registry

from mirror.cli.main import root
from tests.support.past import CONTRACT, NOBODY, RULES, VISITOR, past

SECOND = "version: 1\nrules: [{id: other, when: {publisher.country: [CN]}, effect: quarantine}]\n"


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """Requests under the first policy, then one under a second; the ids of some decisions."""
    folder = tmp_path_factory.mktemp("past")
    ids = {}

    async def live():
        async with past(folder) as one:
            ids["refused"] = await one.ask("globex/solid#model.safetensors", CONTRACT)
            await one.ask("globex/solid#model.safetensors", CONTRACT)
            ids["allowed"] = await one.ask("acme/tiny#model.safetensors", VISITOR)
            await one.ask("globex/solid#model.safetensors", NOBODY)
            await one.activate(SECOND)
            ids["held"] = await one.ask("globex/solid#model.safetensors", CONTRACT)

    asyncio.run(live())
    return folder, ids


@pytest.fixture
def run(installation):
    def invoke(*arguments):
        return CliRunner().invoke(root, ["-c", str(installation[0] / "mirror.yaml"), "policy", *map(str, arguments)])

    return invoke


def test_replay_says_what_would_have_been_different_for_whom(run, tmp_path):
    """Over what was asked, a new policy's differences are counted by effect, group and rule, with the requests they stand for."""
    new = tmp_path / "new.yaml"
    new.write_text("version: 1\nrules: [{id: no-globex, when: {publisher: [globex]}, effect: deny}]\n")
    done = run("replay", "--since", "all", "--with", new, "--json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert (found["decisions"], found["requests"], found["unread"]) == (4, 5, 0)
    assert found["changed"]["effects"] == [
        {"before": "allow", "after": "deny", "decisions": 1, "requests": 1}, {"before": "quarantine", "after": "deny", "decisions": 1, "requests": 1},
    ]  # fmt: skip
    assert {row["group"]: row["decisions"] for row in found["changed"]["groups"]} == {"": 1, "contract": 1}
    assert {row["id"]: row["by"] for row in found["changed"]["rules"]} == {"no-globex": 2, "other": 0}
    page = run("replay", "--since", "all", "--with", new).output
    assert "pkg:huggingface/globex/solid#model.safetensors: allow -> deny (no-globex), 1x" in page


def test_replay_counts_apart_what_the_rules_in_force_change_too(run, tmp_path):
    """The policy in force itself, replayed, is the cause of nothing: its differences from the past are `anyway`."""
    same = tmp_path / "same.yaml"
    same.write_text(SECOND)
    found = json.loads(run("replay", "--since", "all", "--with", same, "--json").output)
    assert found["changed"]["decisions"] == 0
    assert [(row["before"], row["after"]) for row in found["anyway"]["effects"]] == [("deny", "quarantine"), ("allow", "quarantine")]


def test_verify_exits_0_where_everything_follows_and_1_with_names_where_not(run, installation):
    """`replay --verify` works out the whole ledger; with a piece of evidence gone it names each decision and exits 1."""
    done = run("replay", "--verify", "--json")
    assert (done.exit_code, json.loads(done.output)) == (0, {"decisions": 4, "same": 4, "different": 0, "not_recomputed": 0, "ok": True})
    archive = installation[0] / "data" / "evidence"
    (book,) = (path for path in archive.rglob("*") if path.is_file() and b" rulebook " in path.read_bytes()[:60] and _cited(installation[0], path.name, 1))
    kept = book.read_bytes()
    book.unlink()
    try:
        done = run("replay", "--verify")
        assert done.exit_code == 1
        assert f"cannot be worked out: rulebook {book.name}: is not in the evidence archive" in done.output
        assert "3 of 4 decisions follow" in done.output
    finally:
        book.write_bytes(kept)


def _cited(folder, digest, times):
    from mirror.watch.past import records

    return sum(one.get("decision", {}).get("rulebook") == digest for one in records(folder / "data" / "ledger")) == times


def test_replay_wants_one_of_two_questions(run, tmp_path):
    """Neither or both of --with and --verify, a span that is none, and a policy with faults are exit 2 with their places."""
    bad = tmp_path / "bad.yaml"
    bad.write_text("version: 1\nrules: [{id: r, when: {origin: [XX]}, effect: deny}]\n")
    for arguments, said in (
        ((), "say either --with FILE or --verify"), (("--with", bad, "--verify"), "say either"), (("--with", bad, "--since", "soon"), "--since: 'soon' is neither"),
        (("--with", bad), "rules[0].when.origin: 'XX'"), (("--with", tmp_path / "none.yaml"), "no such file"),
    ):  # fmt: skip
        done = run("replay", *arguments)
        assert (done.exit_code, said in done.output) == (2, True), done.output


def test_explain_a_decision_from_its_record(run, installation):
    """A decision's id gives its derivation by the rules of its time - facts, rules, why - and says that it follows from the record."""
    done = run("explain", installation[1]["refused"])
    assert done.exit_code == 1
    for said in (
        "refused, seq 1", "of contract, US", "on the record: deny: Blocked by policy rule 'origin-cn'", "origin: CN  [catalogue, ",
        "rule origin-cn: held -> deny", "rule listed: out_of_scope", "rule pickle: not_held", "worked out again from record and archive: the same",
    ):  # fmt: skip
        assert said in done.output, done.output
    assert run("explain", installation[1]["allowed"]).exit_code == 0
    assert "is on the record" in run("explain", "01J8ZQ4Y3S5T6V7W8X9YABCDEF").output
    assert run("explain", "01J8ZQ4Y3S5T6V7W8X9YABCDEF").exit_code == 2
    assert run("explain", installation[1]["allowed"], "--as", "x").exit_code == 2


def test_explain_a_decision_prints_the_published_schema(run, installation):
    """With --json it is a decision of `docs/schema/decision.json`, its trace and `recomputed` included."""
    found = json.loads(run("explain", installation[1]["refused"].lower(), "--json").output)
    schema = json.loads((Path(__file__).parents[2] / "docs" / "schema" / "decision.json").read_text())
    Draft202012Validator(schema, registry=Registry()).validate(found)
    assert (found["recomputed"]["same"], found["determining"], len(found["rulebook"])) == (True, ["origin-cn"], 64)


def test_diff_compares_rules_and_decisions(run, installation, tmp_path):
    """Two versions - a moment and what is in force, or a digest and a file - differ in rules and in what was asked; exit 1."""
    done = run("diff", "2026-11-01T09:02", "current", "--since", "all", "--json")
    assert done.exit_code == 1, done.output
    found = json.loads(done.output)
    assert {(row["id"], row["change"]) for row in found["edits"]} == {
        ("origin-cn", "removed"), ("listed", "removed"), ("pickle", "removed"), ("later", "removed"), ("other", "added"),
    }  # fmt: skip
    assert found["decisions"]["changed"]["decisions"] == 3
    old = tmp_path / "policy.yaml"
    old.write_text(RULES)
    same = run("diff", found["before"][:12], old, "--since", "all")
    assert (same.exit_code, "no rule, exception, default or set differs" in same.output) == (0, True)
    assert "+ rule other" in run("diff", old, "current").output
    assert run("diff", "nowhere", "current").exit_code == 2
    assert run("diff", "0" * 12, "current").exit_code == 2


def test_named_policies_need_no_configured_one(tmp_path):
    """Where the configured policy is not there, a named one still explains and two named ones are compared; what needs the configured one exits 2."""
    (tmp_path / "mirror.yaml").write_text("policy: {path: gone.yaml}\n")
    new = tmp_path / "new.yaml"
    new.write_text("version: 1\nrules: []\n")

    def code(*words: object) -> int:
        return CliRunner().invoke(root, ["-c", str(tmp_path / "mirror.yaml"), "policy", *map(str, words)], standalone_mode=False).exit_code

    assert code("explain", "--policy", new, "globex/harmless") == 0
    assert code("diff", new, new) == 0
    assert code("explain", "globex/harmless") == 2
    assert code("diff", "current", new) == 2


def test_show_prints_the_policy_of_a_moment(run):
    """The files as they were in force, from the archive: before and after a change; before the ledger there was none."""
    first = json.loads(run("show", "--at", "2026-11-01T09:03", "--json").output)
    assert [file["text"] for file in first["files"]] == [RULES]
    assert first["approval"] is None
    now = run("show")
    assert SECOND.strip() in now.output
    assert "activated without signatures" in now.output
    assert SECOND.strip() in run("show", "--at", json.loads(run("show", "--json").output)["policy"][:12]).output
    early = run("show", "--at", "2020-01-01")
    assert (early.exit_code, "before the ledger begins" in early.output) == (2, True)
