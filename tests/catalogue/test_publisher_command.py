"""`mirror publisher`: what people and scripts see."""

import json

import pytest
from click.testing import CliRunner

from mirror.cli.main import root
from tests.catalogue.packs import ACME


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The command in a folder whose configuration names one pack."""
    (tmp_path / "ours.yaml").write_text(ACME, "utf-8")
    (tmp_path / "mirror.yaml").write_text("catalogue: [ours.yaml]\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIRROR_CONFIG", raising=False)
    return lambda *arguments: CliRunner().invoke(root, ("publisher", *arguments))


@pytest.mark.parametrize("name", ["acme", "ACME-research", "huggingface:acme", "acme/solid-7b", "Acme Labs Ltd", "acme_sdk"])
def test_show_finds_a_publisher_by_any_of_its_names(run, name):
    """Id, handle, handle on a hub, repository, entity and PyPI project lead to the same page, with inherited countries."""
    result = run("show", name)
    assert result.exit_code == 0, result.output
    assert result.output.startswith("acme: Acme Labs Ltd (company, developer)")
    assert "NO ultimate-parent, B, parent globex" in result.output


def test_show_in_json_has_the_keys_of_a_pack(run):
    """`--json` gives one object with SURFACE 5's keys; shares are numbers from 0 to 1."""
    row = json.loads(run("show", "acme", "--json").stdout)
    assert (row["entity"], row["owners"][0]["share"]) == ("Acme Labs Ltd", 0.6)
    assert row["handles"]["huggingface"] == ["acme", "acme-research"]
    assert row["listings"] == [{"list": "House list", "from": "2025-01-16", "until": None, "source": "https://acme.example"}]


def test_a_hint_is_not_shown_as_a_publisher(run):
    """A name that only a glob matches is not in the catalogue: exit 1, nearby ids on standard error."""
    result = run("show", "acme-unheard-of")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "not in the catalogue" in result.stderr
    assert "near: acme" in run("show", "acm").stderr


def test_search_lists_matches_and_says_when_there_are_none(run):
    """Exit 0 with rows, JSON Lines on demand, exit 1 with nothing."""
    assert "globex  NO,SG     Globex Holdings" in run("search", "holdings").output
    assert [json.loads(line)["id"] for line in run("search", "o", "--json").stdout.splitlines()] == ["acme", "globex"]
    assert run("search", "umbrella").exit_code == 1


def test_check_is_0_when_sound_1_with_all_places_when_not_2_when_unusable(run, tmp_path):
    """The three exit codes, and an overlay given on the command line is laid over the configured catalogue."""
    assert run("check").output.startswith("sound: 2 publishers, sha256 ")
    assert len(json.loads(run("check", "--json").stdout)["digest"]) == 64
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text("version: 1\npublishers:\n  - {id: acme, +aliases: [A], parent: nobody}\n  - {id: x, colour: red}\n")
    result = run("check", str(overlay))
    assert result.exit_code == 1
    assert "overlay.yaml: publishers[1].colour" in result.stderr
    rows = [json.loads(line) for line in run("check", str(overlay), "--json").stdout.splitlines()]
    assert all(set(row) == {"source", "place", "message"} for row in rows)
    overlay.write_text("version: 1\npublishers:\n  - {id: acme, +aliases: [A], parent: nobody}\n")
    assert "publishers[0].parent: 'nobody' is no publisher" in run("check", str(overlay)).stderr
    assert run("check", "gone.yaml").exit_code == 2
    (tmp_path / "mirror.yaml").write_text("catalog: [ours.yaml]\n")
    unusable = run("check")
    assert unusable.exit_code == 2
    assert "catalog" in unusable.stderr


def test_the_configuration_is_named_before_or_after_the_command(run, tmp_path):
    """`mirror -c FILE publisher ...` and `mirror publisher ... -c FILE` read the same file."""
    (tmp_path / "mirror.yaml").rename(tmp_path / "other.yaml")
    (tmp_path / "mirror.yaml").write_text("catalogue: [gone.yaml]\n")
    assert run("show", "acme").exit_code == 2
    assert run("show", "acme", "-c", "other.yaml").exit_code == 0
    assert CliRunner().invoke(root, ("-c", "other.yaml", "publisher", "show", "acme")).exit_code == 0


def test_a_broken_catalogue_makes_look_ups_unusable(run, tmp_path):
    """`show` on a catalogue with faults answers nothing and exits 2 with every fault."""
    (tmp_path / "ours.yaml").write_text("version: 1\npublishers:\n  - {id: a}\n  - {id: b}\n")
    result = run("show", "a")
    assert result.exit_code == 2
    assert "publishers[0].entity" in result.stderr
    assert "publishers[1].entity" in result.stderr
