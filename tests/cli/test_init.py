"""`mirror init` writes a start that holds."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from mirror import config
from mirror.bundle.bootstrap_text import readme
from mirror.cli.init import PROFILES
from mirror.policy.subject import ON_UNKNOWN
from tests.support import preloaded


def mirror(folder: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return preloaded.run(line, cwd=folder)


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_is_sound_and_its_own_tests_hold(tmp_path: Path, profile: str):
    """What `init` writes passes `config check` and `policy check` as it stands, and is full of comments."""
    assert mirror(tmp_path, "init", "--profile", profile).returncode == 0
    checked = mirror(tmp_path, "config", "check")
    assert (checked.returncode, checked.stderr) == (0, "")
    ruled = mirror(tmp_path, "policy", "check")
    assert (ruled.returncode, ruled.stderr) == (0, "")
    assert "sound" in ruled.stdout
    found = config.load(None, {}, cwd=tmp_path)
    assert found.policy.path == tmp_path / "policy.yaml"
    assert all((tmp_path / name).read_text().count("#") > 8 for name in ("mirror.yaml", "policy.yaml"))


@pytest.mark.parametrize("profile", list(PROFILES))
def test_every_profile_states_every_unknown_and_no_states_list(tmp_path: Path, profile: str):
    """Each profile says what an unknown fact means, for all of them, switches no official list on, and honours region blocks."""
    mirror(tmp_path, "init", "--profile", profile)
    policy = yaml.safe_load((tmp_path / "policy.yaml").read_text())
    assert set(policy["defaults"]["on_unknown"]) == set(ON_UNKNOWN)
    assert policy["defaults"]["on_unknown"]["client_country"] == "deny"
    assert not config.load(None, {}, cwd=tmp_path).lists
    assert not any("list_match" in rule["when"] or "origin" in rule["when"] for rule in policy["rules"])
    region = next(rule for rule in policy["rules"] if rule["when"].get("upstream.blocks_client"))
    assert (region["effect"], region.get("mode", "enforce"), region["legal"]) == ("deny", "enforce", True)
    others = [rule for rule in policy["rules"] if rule is not region]
    assert {rule.get("mode", "enforce") for rule in others} == ({"audit"} if profile == "observe" else {"enforce"})


def test_the_commented_rules_of_contractor_hold_too(tmp_path: Path):
    """Taking the comment signs away from the contractor's rules, as they ask for, gives a policy that is read."""
    mirror(tmp_path, "init", "--profile", "contractor")
    path = tmp_path / "policy.yaml"
    text = path.read_text().replace("# sets: {excluded: [AA, BB]} ", "sets: {excluded: [FR, DE]} ")
    text = re.sub(r"^  # (?=- id: (origin|publisher)$|  )", "  ", text, flags=re.MULTILINE)
    text = re.sub(r"^  # - id: listed\n(    .*\n)+", "", text, flags=re.MULTILINE)
    path.write_text(text)
    assert {rule["id"] for rule in yaml.safe_load(text)["rules"]} >= {"origin", "publisher", "pickled-weights"}
    ruled = mirror(tmp_path, "policy", "check")
    assert ruled.returncode == 0, ruled.stderr


def test_nothing_is_overwritten_without_force(tmp_path: Path):
    """One file that is there stops the whole, names itself, and nothing changes; --force overwrites."""
    (tmp_path / "policy.yaml").write_text("mine\n")
    refused = mirror(tmp_path, "init")
    assert refused.returncode == 2
    assert refused.stderr == "policy.yaml: is there already; --force overwrites it\n"
    assert [path.name for path in tmp_path.iterdir()] == ["policy.yaml"]
    assert mirror(tmp_path, "init", "--force").returncode == 0
    assert (tmp_path / "policy.yaml").read_text() != "mine\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mirror.yaml", "policy.yaml"]


def test_another_folder_and_json(tmp_path: Path):
    """--dir makes the folder, and --json says what was written."""
    done = mirror(tmp_path, "init", "--profile", "lab", "--dir", "etc/mirror", "--json")
    assert json.loads(done.stdout) == {"profile": "lab", "written": ["etc/mirror/mirror.yaml", "etc/mirror/policy.yaml"]}
    assert mirror(tmp_path, "-c", "etc/mirror/mirror.yaml", "config", "check").returncode == 0


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path):
    """A path through a file ends with 2 and one line, no traceback."""
    (tmp_path / "file").write_text("")
    done = mirror(tmp_path, "init", "--dir", "file/below")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_the_laboratory_has_a_place_for_the_senders_card(tmp_path: Path):
    """Profile lab trusts whose card lies in `senders`, makes that folder, and it is where the bootstrap's README says to copy the card."""
    steps = readme(["requirements.txt"], datetime(2026, 11, 22, tzinfo=UTC))
    folder = re.search(r"init --profile lab --dir (\S+)$", steps, re.MULTILINE)
    card = re.search(r"cp sender\.yaml (\S+)$", steps, re.MULTILINE)
    assert folder and card
    place = Path(card[1]).relative_to(folder[1])
    done = mirror(tmp_path, "init", "--profile", "lab", "--dir", "etc")
    assert f"made {Path('etc') / place.parent}: put the card" in done.stdout
    assert (tmp_path / "etc" / place).parent.is_dir()
    assert config.load(tmp_path / "etc/mirror.yaml", {}).trust.verify == ((tmp_path / "etc" / place).parent,)
    assert (folder[1] + "/mirror.yaml bundle import") in steps
