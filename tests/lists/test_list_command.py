"""`mirror list` as people run it, alone and beside a running server; what health, metrics and the ledger say of lists."""

from __future__ import annotations

import json
import time

import pytest
import yaml

from tests.support import preloaded
from tests.support.mirror import MirrorProcess

MANY = [f"Umbrella Unit {n}" for n in range(60)]
POLICY = 'version: 1\nrules: [{id: house, when: {list_match: {lists: [house]}}, effect: deny, legal: true, basis: "house policy"}]\n'


def table(*names: str, country: str = "GB") -> str:
    return "id,name,country\n" + "".join(f"{name},{name},{country}\n" for name in names)


def mirror(home, *arguments):
    return preloaded.run(["-c", str(home / "mirror.yaml"), "list", *arguments], cwd=home)


@pytest.fixture
def home(tmp_path):
    (tmp_path / "house.csv").write_text(table(*MANY))
    lists = {"house": {"loader": "csv", "source": "house.csv", "meaning": "blocked-party", "basis": "policy 7", "guards": {"max_shrink": "5%", "max_age": "7d"}}}
    (tmp_path / "mirror.yaml").write_text(yaml.safe_dump({"data": "data", "lists": lists}))
    return tmp_path


def test_refresh_status_and_diff(home):
    """Refresh puts in force, status tells edition, entries and state, diff what came, went and changed; as text and as JSON Lines."""
    none = mirror(home, "status")
    assert (none.returncode, none.stdout) == (1, "house: none\n")
    first = mirror(home, "refresh")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("house: changed; edition ")
    assert first.stdout.endswith(", 60 entries\n")
    shown = mirror(home, "status")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (0, "house: in force")
    only_one = mirror(home, "diff", "house")
    assert (only_one.returncode, only_one.stderr) == (2, "lists.house: has had fewer than two editions: there is nothing to compare\n")
    (home / "house.csv").write_text(table(*MANY[1:], "Initech").replace("Umbrella Unit 1,GB", "Umbrella Unit 1,FR"))
    assert mirror(home, "refresh", "house").returncode == 0
    told = mirror(home, "diff", "house").stdout.splitlines()
    assert told[0].endswith(": 1 added, 1 removed, 1 changed")
    assert told[1:] == ["  + Initech  Initech", "  - Umbrella Unit 0  Umbrella Unit 0", "  ~ Umbrella Unit 1  Umbrella Unit 1", "    country: GB -> FR"]
    rows = [json.loads(line) for line in mirror(home, "diff", "house", "--json").stdout.splitlines()]
    assert [row["change"] for row in rows] == ["added", "removed", "changed"]
    assert rows[2]["fields"] == {"country": ["GB", "FR"]}
    back = mirror(home, "diff", "house", rows[0]["after"], rows[0]["before"][:8])
    assert back.stdout.splitlines()[0].endswith(": 1 added, 1 removed, 1 changed")
    [status] = [json.loads(line) for line in mirror(home, "status", "--json").stdout.splitlines()]
    assert (status["name"], status["state"], status["edition"], status["entries"], status["problems"]) == ("house", "in force", rows[0]["after"], 60, [])
    assert (status["meaning"], status["basis"], status["loader"], status["direction"]) == ("blocked-party", "policy 7", "csv", "both")


def test_a_held_edition_is_told_and_may_be_accepted_by_name(home):
    """A guard that trips: exit 1, the reason on standard error, in status, and the old edition in force until somebody accepts."""
    mirror(home, "refresh")
    (home / "house.csv").write_text(table(*MANY[:30]))
    held = mirror(home, "refresh", "--json")
    assert held.returncode == 1
    assert (json.loads(held.stdout)["result"], json.loads(held.stdout)["entries"]) == ("held", 60)
    shown = mirror(home, "status")
    assert (shown.returncode, shown.stdout.splitlines()[0]) == (1, "house: held")
    assert "has 30 entries after 60: beyond guards.max_shrink 5%" in shown.stdout
    assert mirror(home, "refresh", "--accept").returncode == 2
    assert mirror(home, "refresh", "house", "--accept").stdout.endswith(", 30 entries\n")
    assert ", accepted against its guards" in mirror(home, "status").stdout


def test_commands_judge_by_what_is_in_force_where_the_file_is_kept_out(home):
    """As a server does: a file that a guard keeps out, or that is gone, changes nothing for `screen`, which says so; without an edition it stops."""

    def screened():
        return preloaded.run(["-c", str(home / "mirror.yaml"), "screen", MANY[40]], cwd=home)

    assert mirror(home, "refresh").returncode == 0
    (home / "house.csv").write_text(table(*MANY[:30]))
    held = screened()
    assert held.returncode == 1, held.stderr
    assert "1.0000 hit" in held.stdout
    assert "its newest edition is kept out, the one in force is used" in held.stderr
    (home / "house.csv").unlink()
    assert "1.0000 hit" in screened().stdout
    (home / "data" / "lists" / "house" / "current").unlink()
    gone = screened()
    assert (gone.returncode, gone.stdout) == (2, "")
    assert "lists.house.source" in gone.stderr


def test_unusable_input_is_2_and_names_what_there_is(home):
    """Lists and editions that nobody knows."""
    unknown = mirror(home, "refresh", "sdn")
    assert (unknown.returncode, unknown.stderr) == (2, "lists: there is no list 'sdn'; there are: house\n")
    mirror(home, "refresh")
    assert "'1999' names no edition; there are: " in mirror(home, "diff", "house", "1999").stderr
    assert mirror(home, "diff", "house", "1999").returncode == 2


def until(look, wanted):
    """What `look` gives, once `wanted` holds of it."""
    deadline = time.monotonic() + 30
    while not wanted(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    return found


def test_a_server_follows_and_goes_on_with_what_it_had(tmp_path):
    """A new edition of a file or of `list refresh` judges soon; one kept out is told by health, metrics and ledger, and stays out at the next start."""
    house = tmp_path / "m" / "house.csv"
    server = MirrorProcess(tmp_path / "m", {"lists": {"house": {"loader": "csv", "source": "house.csv", "guards": {"min": 50}}}}, policy=POLICY)
    house.write_text(table(*MANY))
    server.start()
    try:
        def standing():
            [found] = server.get("/-/health/ready").json()["lists"]
            return found

        first = standing()
        assert (first["state"], first["entries"]) == ("in force", 60)
        house.write_text(table(*MANY, "Initech"))
        second = until(standing, lambda one: one["entries"] == 61)
        epoch = until(lambda: server.get("/-/health/ready").json()["policy"]["epoch"], lambda number: number == 2)
        house.write_text(table("Initech"))
        held = until(standing, lambda one: one["state"] == "held")
        assert server.command("list", "refresh", check=False).returncode == 1
        assert (held["edition"], held["entries"]) == (second["edition"], 61)
        report = until(lambda: server.get("/-/health/ready").json(), lambda one: one["policy"]["problems"] == 1)
        assert (report["status"], report["policy"]["epoch"]) == ("ready", epoch)
        told = server.get("/-/metrics").body.decode()
        assert 'mirror_list_alarm{list="house"} 1.0' in told
        assert 'mirror_list_entries{list="house"} 61.0' in told
        server.stop()
        server.start()
        assert (standing()["state"], standing()["entries"], standing()["edition"]) == ("held", 61, second["edition"])
        house.write_text(table(*MANY))
        assert server.command("list", "refresh").returncode == 0
        until(standing, lambda one: (one["state"], one["entries"]) == ("in force", 60))
        events = [json.loads(line) for line in server.command("ledger", "query", "--kind", "policy", "--json").stdout.splitlines()]
        outcomes = {(one["subject"], one["detail"]["outcome"]) for one in events if one["detail"].get("list") == "house"}
        assert outcomes >= {(second["edition"], "adopted"), (second["edition"], "rejected")}, events
        evidence = server.folder / "data" / "evidence"
        assert (evidence / _digest(server, second)[:2] / _digest(server, second)).exists()
    finally:
        server.stop()


def _digest(server, status):
    manifest = server.folder / "data" / "lists" / "house" / status["edition"] / "manifest.json"
    return json.loads(manifest.read_text())["digest"]
