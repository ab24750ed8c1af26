"""`mirror screen` as people run it, and what it says of a running mirror: verdicts come into force, changed lists are noticed."""

from __future__ import annotations

import json
import time

import pytest

from mirror.policy.screening import MATCHER
from tests.audit.test_record import validator
from tests.support import preloaded
from tests.support.mirror import clean_environment, running_mirror
from tests.support.standin import running_hub

FILE = "/acme/tiny-bert/resolve/main/config.json"
POLICY = """
version: 1
defaults: {on_unknown: {publisher: allow}}
rules:
  - {id: house, when: {list_match: {lists: [house]}}, effect: deny}
"""
OVERLAY = """
version: 1
publishers:
  - {id: acme, entity: Acme Laboratories Ltd, kind: company, handles: {huggingface: [acme]}, web: [acme.example]}
  - {id: globex, entity: Globex Holding AG, kind: company, parent: acme, handles: {huggingface: [globex]}}
"""
ROWS = ["id,name,country,web", "A-1,Acme Laboratory,GB,", "B-2,Somebody Else,,elsewhere.example"]
MORE = [*ROWS, "C-3,Initrode,,", "D-4,Hooli Systems,,"]
LESS = ROWS[:1] + ROWS[2:]


def written(folder, rows):
    partial = folder / "house.new"
    partial.write_text("\n".join(rows) + "\n")
    partial.replace(folder / "house.csv")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("m")
    (folder / "acme.yaml").write_text(OVERLAY)
    written(folder, ROWS)
    lists = {"house": {"loader": "csv", "source": "house.csv", "meaning": "blocked-party"}}
    with running_hub() as hub, running_mirror(folder, hub, policy=POLICY, lists=lists, catalogue=["acme.yaml"]) as mirror:
        yield mirror


def screen(mirror, *arguments):
    """(exit code, rows, what was said to people)."""
    done = mirror.command("screen", *arguments, "--json", check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def eventually(answer, wanted):
    """What `answer` gives once it is `wanted`, for ten seconds."""
    for _ in range(100):
        if (found := answer()) == wanted:
            return found
        time.sleep(0.1)
    return answer()


def test_names_handles_addresses_and_the_catalogue(world):
    """Any text, a handle, a mail address: exit 1 with the match where one stands, 0 without, each by what it was found."""
    code, [row], _ = screen(world, "ACME Laboratories, Inc.")
    assert (code, row["subject"], row["entry"], row["band"], row["matcher"]) == (1, "ACME Laboratories, Inc.", "A-1", "hit", MATCHER)
    code, [row], _ = screen(world, "huggingface:acme")
    assert (code, row["subject"], row["entity"], row["via"]) == (1, "acme", "Acme Laboratories Ltd", "name")
    assert [(row["entry"], row["via"]) for row in screen(world, "office@elsewhere.example")[1]] == [("B-2", "domain")]
    assert screen(world, "Entirely Unlike Anything")[:2] == (0, [])
    code, rows, _ = screen(world, "--publishers")
    assert (code, [(row["subject"], row["name"]) for row in rows]) == (1, [("acme", "Acme Laboratory"), ("globex", "Acme Laboratory (parent acme)")])
    plain = world.command("screen", "acme", check=False)
    assert "1.0000 hit    house" in plain.stdout
    assert "Not legal advice" in plain.stderr


@pytest.mark.parametrize(("arguments", "said"), [
    ((), "say what to screen"), (("a", "--traffic"), "say what to screen"), (("a", "--list", "nowhere"), "'nowhere' is not among house"),
    (("--traffic", "--since", "lately"), "neither a span such as 30d nor a date"),
    (("a", "--country", "XX", "--id", "12345"), "--country: 'XX' is not an ISO 3166-1 code\n--id: '12345' is neither KIND:NUMBER nor"),
    (("acme", "--list", "house", "--verdict", "false_match"), "--entry: goes with --verdict"),
    (("acme", "--list", "house", "--verdict", "unsure", "--entry", "B-2", "--by", "ann", "--reason", "x"), "no match of acme (there are: A-1)"),
    (("globex", "--list", "house", "--verdict", "unsure", "--entry", "A-1", "--by", "ann", "--reason", "x"), "it is through acme: give the verdict on that"),
])  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_place(world, arguments, said):
    """Exit 2, nothing on standard output, and the option or name in the message."""
    code, rows, error = screen(world, *arguments)
    assert (code, rows) == (2, [])
    assert said in error


def test_no_list_is_no_screening(tmp_path):
    """Without a list in the configuration nothing is claimed: exit 2, and where to read on."""
    (tmp_path / "mirror.yaml").write_text("data: data\n")
    done = preloaded.run(["-c", str(tmp_path / "mirror.yaml"), "screen", "x"], cwd=tmp_path, env=clean_environment())
    assert (done.returncode, done.stdout) == (2, "")
    assert "docs/lists.md" in done.stderr


def test_a_verdict_comes_into_force_is_on_the_record_and_reopens_when_the_entry_changes(world):
    """Refused; served after `false_match`, with the finding's id in the decision; refused again when the entry is another."""
    assert world.get(FILE).status == 403
    given = ("acme", "--list", "house", "--entry", "A-1", "--by", "ann", "--reason", "another Acme")
    code, [kept], _ = screen(world, *given, "--verdict", "false_match")
    assert code == 0
    assert eventually(lambda: world.get(FILE).status, 200) == 200
    assert screen(world, "acme")[0] == 0
    assert screen(world, "globex")[0] == 0
    events = world.events()
    [finding] = [event for event in events if event["kind"] == "finding"]
    assert {key: finding["detail"][key] for key in ("id", "subject", "list", "entry", "finding", "by", "reason")} == {
        "id": kept["id"], "subject": "acme", "list": "house", "entry": "A-1", "finding": "false_match", "by": "ann", "reason": "another Acme",
    }  # fmt: skip
    served = next(event["decision"] for event in events if event["kind"] == "allowed")
    ruled_out = [match for match in served["matches"] if match.get("finding")]
    assert [(match["entry"], match["finding"], match["verdict"]) for match in ruled_out] == [("A-1", "false_match", kept["id"])]
    for event in events:
        validator("event.json").validate(event)
    written(world.folder, [ROWS[0], "A-1,Acme Laboratory,GB,acme.example", *ROWS[2:]])
    assert eventually(lambda: world.get(FILE).status, 403) == 403
    assert [row["state"] for row in screen(world, "--verdicts")[1]] == ["reopened"]
    code, [row], _ = screen(world, "acme")
    assert (code, row["finding"], row["verdict"]) == (1, "reopened", kept["id"])


def test_a_changed_list_is_held_against_all_that_was_asked_for(world):
    """A new edition: a record and a log line say who appeared on it and who went, and `--traffic` shows the same."""
    world.get(FILE)
    world.get("/initrode/some-model/resolve/main/config.json")
    before = [event["seq"] for event in world.events() if event["kind"] == "screened"]
    written(world.folder, [LESS[0], *LESS[1:], *MORE[3:]])

    def noticed():
        new = [event for event in world.events() if event["kind"] == "screened" and event["seq"] not in before]
        return new[0]["detail"]["changes"] if new else None

    for _ in range(100):
        if noticed() is not None:
            break
        time.sleep(0.1)
    assert [(row["subject"], row["entry"], row["change"]) for row in noticed()] == [("acme", "A-1", "gone")]
    assert any("screened" in line and "acme gone on house" in line for line in world.log_lines())
    code, rows, _ = screen(world, "--traffic", "--all")
    assert code == 0
    told = world.command("screen", "--traffic", "--all", check=False)
    assert "acme: Acme Laboratories Ltd" in told.stdout
    assert "acme gone on house as 'Acme Laboratory'" in told.stderr
    assert screen(world, "--traffic", "--since", "2100-01-01")[:2] == (0, [])
