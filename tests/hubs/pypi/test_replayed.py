"""A running mirror's whole record follows from itself, pages included, and its cache tells facts to whoever asks it offline."""

from __future__ import annotations

import json

from click.testing import CliRunner

from mirror.cli.main import root

from .conftest import mirror_of

RULES = [
    {"id": "no-old", "when": {"artifact": ["pkg:pypi/acme-lib@1.1"]}, "effect": "deny"},
    {"id": "old", "when": {"age_days": {"gt": 1}, "artifact": ["pkg:pypi/acme-app"], "kind": "sdist"}, "effect": "review"},
    {"id": "here", "when": {"license": ["*"]}, "for": {"networks": ["127.0.0.0/8"]}, "effect": "warn"},
]


def test_everything_that_a_server_records_follows_from_the_record(index, tmp_path):
    """Files, refused files and steered pages of a real server recompute to the same while it runs; a page names what it was judged by."""
    with mirror_of(index, tmp_path, RULES) as mirror:
        for name in ("acme-lib", "acme-app"):
            page = mirror.page(name)
            for file in page["files"][:4]:
                mirror.ask("/" + file["url"].split("/", 3)[3])
        events = mirror.events()
        steered = [event for event in events if event["kind"] == "steered"]
        assert steered
        assert steered[0]["detail"]["judged"].startswith("pkg:pypi/acme-lib@1.1?file_name=")
        assert steered[0]["decision"]["facts"]["file_kind"]["value"] in ("sdist", "wheel")
        assert {"allowed", "refused"} <= {event["kind"] for event in events}
        assert any(event["actor"].get("networks") == ["127.0.0.0/8"] for event in events if "decision" in event)
        found = run(tmp_path, "replay", "--verify", "--json")
        assert found.exit_code == 0, found.output
        told = json.loads(found.output.splitlines()[-1])
        assert (told["ok"], told["decisions"]) == (True, sum("decision" in event for event in events))
        loose = tmp_path / "loose.yaml"
        loose.write_text("version: 1\nrules: []\n")
        changed = json.loads(run(tmp_path, "replay", "--with", loose, "--json").output)["changed"]
        assert changed["pages"] == len(steered)
        artifact = next(event["decision"]["artifact"] for event in events if event["kind"] == "allowed")
        facts = json.loads(run(tmp_path, "explain", artifact, "--json").output)["facts"]
        recorded = next(event["decision"]["facts"] for event in events if event["kind"] == "allowed")
        assert {name: facts[name]["value"] for name in ("size", "published_at", "yanked")} == {name: recorded[name]["value"] for name in ("size", "published_at", "yanked")}
        unknown = run(tmp_path, "explain", "pkg:pypi/never-heard-of@1?file_name=never_heard_of-1.tar.gz")
        assert "nothing is cached of it here" in unknown.output


def run(folder, *arguments):
    return CliRunner().invoke(root, ["-c", str(folder / "mirror.yaml"), "policy", *map(str, arguments)])
