"""A publisher put on a list today: who was given what of it in the past years (`mirror ledger lookback`)."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.audit.ledger import SegmentLedger
from mirror.core.actor import Actor
from mirror.core.facts import Ancestor, Fact, Facts, Publisher
from mirror.core.nouns import Kind, Project
from mirror.lists.loading import load_catalogue
from mirror.policy.lineage import Edge, Lineage, StatedEdge
from mirror.watch.lookback import look_back
from tests.audit.samples import VERDICT, SteppingClock, allowed, refused
from tests.support import preloaded

TODAY = datetime.now(UTC)
CATALOGUE = """version: 1
publishers:
  - {id: weyland, entity: Weyland Heavy Industries, kind: company, handles: {huggingface: [weyland]}}
  - {id: acme, entity: Acme Labs, kind: company, parent: weyland, handles: {huggingface: [acme]}}
  - {id: wayne, entity: Wayne Kits, kind: company, projects: {pypi: [wayne-kit]}, owners: [{id: weyland, share: 0.6, source: "https://register.example/w", as_of: 2026-01-31}]}
  - {id: initech, entity: Initech, kind: company, handles: {huggingface: [initech]}, owners: [{id: weyland, share: 0.3, source: "https://register.example/i", as_of: 2026-01-31}]}
  - {id: stark, entity: Stark Tools, kind: company, handles: {huggingface: [stark]}, owners: [{id: weyland, share: 0.8, source: "https://register.example/s", as_of: 2020-01-31, until: UNTIL}]}
"""
LISTS = {"house": {"loader": "csv", "source": "house.csv", "meaning": "blocked-party", "direction": "inbound"}}


def model(name: str) -> Project:
    return Project("huggingface", Kind.MODEL, name, "huggingface")


def made_from(child: str, parent: str, publisher: str = "") -> Facts:
    known = Publisher(publisher, publisher, "company") if publisher else None
    edge = Ancestor(model(parent), model(child), "quantized", "declared", 10_000, 1, known)
    return Facts(ancestors=Fact((edge,), "card", "B"))


NOTHING = Facts()
KIT = Project("pypi", Kind.PACKAGE, "wayne-kit", "pypi")
#: What was asked for: (project, facts as they were known, who, group, country, days ago, how often again).
PAST = [
    (model("weyland/one"), NOTHING, "u:1", ("lab",), "DE", 1000, 4),
    (model("weyland/one"), NOTHING, "u:2", ("lab",), "DE", 900, 0),
    (model("weyland/one"), NOTHING, "", ("lab",), "DE", 899, 0),
    (model("weyland/old"), NOTHING, "u:1", ("lab",), "DE", 3000, 0),
    (model("acme/base"), Facts(publisher=Fact(Publisher("acme", "Acme Labs", "company"), "catalogue")), "u:3", ("dod", "lab"), "US", 500, 0),
    (model("umbrella/base-GGUF"), made_from("umbrella/base-GGUF", "acme/base", "acme"), "u:4", (), "FR", 400, 0),
    (model("umbrella/silent"), NOTHING, "u:5", ("lab",), None, 300, 0),
    (model("umbrella/silent"), made_from("umbrella/silent", "weyland/one"), "u:6", ("other",), "JP", 200, 0),
    (model("umbrella/deep"), made_from("umbrella/deep", "umbrella/silent"), "u:10", ("lab",), "IT", 150, 0),
    (KIT, NOTHING, "u:7", ("dod",), "US", 100, 0),
    (model("initech/x"), NOTHING, "u:8", ("lab",), "GB", 90, 0),
    (model("stark/then"), NOTHING, "u:9", ("lab",), "NL", 80, 0),
    (model("stark/after"), NOTHING, "u:9", ("lab",), "NL", 10, 0),
    (Project("pypi", Kind.PACKAGE, "hooli-kit", "pypi"), NOTHING, "u:9", ("lab",), "DE", 9, 0),
    (model("soylent/other"), NOTHING, "u:9", ("lab",), "DE", 9, 0),
]  # fmt: skip


async def fill(folder: Path) -> None:
    ledger = SegmentLedger(folder / "data" / "ledger", SteppingClock(), reserve=0)
    await ledger.start()
    ordered = sorted(enumerate(PAST), key=lambda one: -one[1][5])
    for number, (project, facts, name, groups, country, ago, again) in ordered:
        who = Actor(name, groups, "", country, "group")
        at = TODAY - timedelta(days=ago)
        event = replace(allowed(number, project=project, facts=facts, actor=who, at=at, path="model.safetensors"), at=at)
        ledger.record(event)
        for _ in range(again):
            ledger.repeat(event.decision, must_be_durable=False)
    await ledger.record(refused(99, project=model("weyland/refused"), facts=NOTHING, verdict=VERDICT, at=TODAY)).durable()
    await ledger.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("lookback")
    sold = (TODAY - timedelta(days=50)).date().isoformat()
    (folder / "publishers.yaml").write_text(CATALOGUE.replace("UNTIL", sold))
    (folder / "hints.yaml").write_text('version: 1\npublishers:\n  - {id: hooli, entity: Hooli, kind: company, packages: ["hooli-*"]}\n')
    (folder / "house.csv").write_text("name,country\nWeyland Heavy Industries,\n")
    (folder / "policy.yaml").write_text("version: 1\nrules:\n  - {id: listed, when: {list_match: {lists: [house]}}, effect: deny}\n")
    config = {"data": "data", "catalogue": ["publishers.yaml"], "lists": LISTS}
    (folder / "mirror.yaml").write_text(json.dumps(config))
    asyncio.run(fill(folder))
    return folder


def look(home: Path, *words: str):
    return preloaded.run(["-c", str(home / "mirror.yaml"), "ledger", "lookback", *words], cwd=home, env={**os.environ, "NO_COLOR": "1"})


def found(home: Path, *words: str) -> tuple[list[dict], dict]:
    done = look(home, "--json", *words)
    assert done.returncode in (0, 1), done.stderr
    *rows, about = map(json.loads, done.stdout.splitlines())
    return rows, about


def test_recipients_of_past_years_appear_by_group_and_country(home):
    """Put on a list today, with no decision that knew it: its own, its subsidiary's, the fine-tune's and the package's recipients all appear."""
    rows, about = found(home, "--publisher", "weyland")
    told = {(row["project"], row["group"], row["country"]): (row["how"], row["clients"], row["unnamed"], row["requests"], row["known_then"]) for row in rows}
    hub = "pkg:huggingface/"
    assert told == {
        (f"{hub}weyland/one", "lab", "DE"): ("published", 2, 1, 7, False),
        (f"{hub}acme/base", "dod", "US"): ("owned", 1, 0, 1, True),
        (f"{hub}acme/base", "lab", "US"): ("owned", 1, 0, 1, True),
        (f"{hub}umbrella/base-GGUF", None, "FR"): ("lineage-owned", 1, 0, 1, True),
        (f"{hub}umbrella/silent", "lab", None): ("lineage", 1, 0, 1, False),
        (f"{hub}umbrella/silent", "other", "JP"): ("lineage", 1, 0, 1, True),
        (f"{hub}umbrella/deep", "lab", "IT"): ("lineage", 1, 0, 1, False),
        ("pkg:pypi/wayne-kit", "dod", "US"): ("owned", 1, 0, 1, False),
        (f"{hub}stark/then", "lab", "NL"): ("owned", 1, 0, 1, False),
    }
    assert (about["clients"], about["requests"], about["projects"]) == (9, 14, 7)
    assert [(row["list"], row["score"]) for row in about["listed"]] == [("house", 10_000)]


def test_the_way_is_told(home):
    """Each row says how it hangs together, with share, date and source of an ownership, and whether it is so today."""
    via = {row["project"].rpartition("/")[2]: row["via"] for row in found(home, "--publisher", "Weyland Heavy Industries")[0]}
    assert via["base-GGUF"] == ["umbrella/base-GGUF was made from acme/base (quantized, declared)", "weyland is the parent of acme (catalogue)"]
    assert via["deep"] == ["umbrella/deep was made from umbrella/silent (quantized, declared)", "umbrella/silent was made from weyland/one (quantized, declared)"]
    assert via["wayne-kit"] == ["weyland holds 60 % of wayne (as of 2026-01-31, https://register.example/w)"]
    assert via["then"] == ["weyland holds 80 % of stark (as of 2020-01-31, https://register.example/s)", "not any more today"]


def test_lineage_that_is_shipped_today_counts(home):
    """A model of which nothing was recorded is found once the shipped relations name its parent; a package by a glob is said to be a hint."""
    catalogue = load_catalogue(["publishers.yaml", "hints.yaml"], home)
    edge = StatedEdge(model("soylent/other"), Edge(model("weyland/one"), "finetune", "catalogue", 9000))
    rows = {}
    for lineage in (Lineage([]), Lineage.build([edge])):
        found = look_back(home / "data" / "ledger", catalogue.by_id("weyland"), catalogue, lineage, since=None, now=TODAY)
        rows[len(lineage)] = {(row.project.rpartition("/")[2], row.how, row.known_then) for row in found.rows}
    assert rows[1] - rows[0] == {("other", "lineage", False)}
    found = look_back(home / "data" / "ledger", catalogue.by_id("hooli"), catalogue, Lineage([]), since=None, now=TODAY)
    assert [(row.project, row.via) for row in found.rows] == [("pkg:pypi/hooli-kit", ("that hooli published it is a hint (grade D)",))]


def test_what_it_cannot_know_is_said(home):
    """Erased clients, the ledger's beginning, small shares, silent models and unknown publishers are each told of with their number."""
    limits = "\n".join(found(home, "--publisher", "weyland", "--since", "20y")[1]["limits"])
    for text in ("the ledger begins at", "clients who were erased: 1;", "held: initech (--minority)", "1 are models of nobody known", "it has counts alone"):
        assert text in limits
    assert f"begins at {(TODAY - timedelta(days=3000)).date().isoformat()}" in limits
    rows, about = found(home, "--publisher", "weyland", "--minority", "--since", "120d")
    assert {row["project"].rpartition("/")[2] for row in rows} == {"wayne-kit", "x", "then"}
    assert "--minority" not in "\n".join(about["limits"])


def test_table_csv_and_exit_codes(home):
    """The table begins with the listing and ends with the limits; CSV has one line a row; nobody is exit 1, an unknown name exit 2."""
    table = look(home, "--publisher", "weyland", "--since", "5y")
    assert table.returncode == 0
    assert "on house" in table.stdout
    assert "what this cannot know" in table.stdout
    assert "3000" not in table.stdout
    done = look(home, "--publisher", "weyland", "--csv")
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 9
    assert "what this cannot know" in done.stderr
    assert look(home, "--publisher", "weyland", "--since", "7d").returncode == 1
    unknown = look(home, "--publisher", "weylan")
    assert (unknown.returncode, unknown.stdout) == (2, "")
    assert "near: weyland" in unknown.stderr
