"""Keys, waivers, activations and emergency denies, as people use them on a running mirror."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.mirror import MirrorProcess, until
from tests.support.standin.hub import StandInHub, running_hub

TODAY = datetime.now(UTC).date()
POLICY = f"""version: 1
rules:
  - {{id: no-acme, when: {{artifact: ["acme/*"]}}, effect: deny}}
  - {{id: law, when: {{artifact: ["umbrella/*"]}}, effect: deny, legal: true, basis: "house law"}}
  - {{id: never, when: {{artifact: ["initech/*"]}}, effect: deny, waiver: none}}
  - {{id: dated, when: {{artifact: ["globex/*"]}}, effect: deny, from: {TODAY + timedelta(days=10)}}}
"""
FILE = "/resolve/main/config.json"


class Staff:
    """A mirror whose policy must be signed, and people with keys in its folder."""

    def __init__(self, mirror: MirrorProcess) -> None:
        self.mirror, self.folder = mirror, mirror.folder
        (self.folder / "pass").write_text("correct horse\n")

    def key(self, person: str) -> list[str]:
        found = next((self.folder / "keys").glob(f"{person}-*.key"))
        return ["--key", str(found), "--passphrase-file", str(self.folder / "pass")]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.mirror.command(*words, check=check)

    def json(self, *words: str) -> Any:
        return json.loads(self.run(*words, "--json").stdout)

    def status(self, name: str) -> int:
        return self.mirror.get(f"/{name}{FILE}").status

    def until(self, name: str, status: int) -> None:
        for _ in range(400):
            if self.status(name) == status:
                return
            time.sleep(0.025)
        raise AssertionError(f"{name} was {self.status(name)} to the end; {self.mirror.log_lines()[-3:]}")


@pytest.fixture(scope="module")
def hub() -> Iterator[StandInHub]:
    hub = StandInHub()
    for name in ("acme/one", "acme/two", "umbrella/one", "initech/one", "globex/one"):
        hub.add_repo("model", name, {"config.json": b"{}"})
    with running_hub(hub):
        yield hub


@pytest.fixture(scope="module")
def staff(hub: StandInHub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staff]:
    """Alice, carol and bob have keys, all enrolled; the policy was activated by alice and carol on bob's request."""
    folder = tmp_path_factory.mktemp("approvals")
    config = {"policy": {"path": "policy.yaml", "activation": "signed"}, "trust": {"verify": ["cards"]}}
    mirror = MirrorProcess(folder, {**config, "hubs": {"huggingface": {"upstreams": [hub.url], "origins": [hub.url, hub.cdn_url]}}}, POLICY)
    staff = Staff(mirror)
    (folder / "cards").mkdir()
    (folder / "mirror.yaml").write_text(json.dumps(mirror.config))
    for person in ("alice", "carol", "bob"):
        roles = ["--role", "approver"] + (["--role", "requester"] if person == "bob" else [])
        staff.run("key", "new", person, *roles, "--passphrase-file", str(folder / "pass"), "--out", str(folder / "keys"))
    for card in (folder / "keys").glob("*.yaml"):
        card.rename(folder / "cards" / card.name)
    sign(staff, "alice", "--requested-by", "bob", code=1)
    sign(staff, "carol")
    mirror.start()
    yield staff
    mirror.stop()


def sign(staff: Staff, person: str, *more: str, code: int = 0) -> str:
    done = staff.run("policy", "activate", *staff.key(person), *more, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def details(staff: Staff, kind: str, subject: str) -> list[dict[str, Any]]:
    """What the record says of one statement; a running mirror records it beside obeying it."""
    return [one["detail"] for one in staff.mirror.events() if one["kind"] == kind and one["subject"] == subject]


def refusal(staff: Staff, name: str) -> str:
    reply = staff.mirror.get(f"/{name}{FILE}")
    assert reply.status in (403, 451)
    return reply.headers["X-Mirror-Decision"]


def test_from_refusal_to_waiver_to_rejection(staff: Staff) -> None:
    """A refused developer asks by the decision's id; an approver's signature lets the running mirror serve, a rejection ends that; all is on the record."""
    asked = staff.json("waiver", "request", refusal(staff, "acme/one"), "--reason", "ticket 4411", "--by", "dan")
    assert (asked["rule"], asked["need"], asked["granted"]) == ("no-acme", 1, False)
    assert asked["artifact"][0].startswith("pkg:huggingface/acme/one@")
    assert [(row["id"], row["state"]) for row in map(json.loads, staff.run("waiver", "list", "--json").stdout.splitlines())] == [(asked["id"], "requested")]
    assert staff.json("waiver", "approve", asked["id"], *staff.key("alice"))["in_force"]
    staff.until("acme/one", 200)
    assert staff.status("acme/two") == 403
    staff.run("waiver", "reject", asked["id"], "--reason", "over", *staff.key("carol"))
    staff.until("acme/one", 403)
    assert "rejected" in staff.run("waiver", "list").stdout
    told = [("requested", None), ("approved", ["alice"]), ("rejected", ["carol"])]
    until(lambda: [(one["outcome"], one.get("approved_by")) for one in details(staff, "waiver", asked["id"])] == told)


def test_a_legal_rule_takes_two_who_did_not_ask(staff: Staff) -> None:
    """On a legal rule the requester's signature and a second one by the same person are refused; two approvers lift it, with the licence on record."""
    licence = ["--licence-number", "L-7", "--licence-item", "weights", "--licence-party", "Acme Ltd", "--licence-from", "2026-01-01"]
    asked = staff.json("waiver", "request", refusal(staff, "umbrella/one"), "--reason", "r", "--by", "bob", *licence)
    assert asked["need"] == 2
    own = staff.run("waiver", "approve", asked["id"], *staff.key("bob"), check=False)
    assert (own.returncode, own.stderr.splitlines()[-1]) == (2, f"{asked['id']}: signatures[0]: 'bob' requested this and cannot approve it")
    assert not staff.json("waiver", "approve", asked["id"], *staff.key("alice"))["in_force"]
    again = staff.run("waiver", "approve", asked["id"], *staff.key("alice"), check=False)
    assert (again.returncode, "'alice' has signed already" in again.stderr) == (2, True)
    assert staff.status("umbrella/one") == 451
    staff.run("waiver", "approve", asked["id"], *staff.key("carol"))
    staff.until("umbrella/one", 200)
    detail = until(lambda: [one for one in details(staff, "waiver", asked["id"]) if len(one.get("approved_by", ())) == 2])[-1]
    assert (detail["licence"], detail["parties"], detail["approved_by"]) == ("L-7", ["Acme Ltd"], ["alice", "carol"])


def test_what_cannot_be_waived_cannot_be_asked_for(staff: Staff) -> None:
    """A rule with `waiver: none`, a decision that does not exist and an unknown rule are refused at the request, with exit 2."""
    for words, said in (
        ((refusal(staff, "initech/one"),), "admits no waiver"),
        (("01J8ZQ4Y3S5T6V7W8X9YABCDEF",), "holds no decision"),
        (("--artifact", "acme/one", "--rule", "nothing"), "no rule in force has the id 'nothing'"),
        (("--rule", "no-acme"), "--artifact: is required without a decision"),
    ):
        done = staff.run("waiver", "request", *words, "--reason", "r", "--by", "dan", check=False)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr


def test_an_emergency_deny_and_its_end(staff: Staff) -> None:
    """`policy deny` refuses on the running mirror what the policy permits and what is cached; `policy lift` by another ends it."""
    staff.until("globex/one", 200)
    made = staff.json("policy", "deny", "globex/*", "--reason", "an order came in", *staff.key("alice"))
    staff.until("globex/one", 403)
    assert "an order came in" in staff.mirror.get(f"/globex/one{FILE}").headers["X-Error-Message"]
    assert [(row["id"], row["state"]) for row in map(json.loads, staff.run("policy", "denies", "--json").stdout.splitlines())] == [(made["id"], "in force")]
    staff.run("policy", "lift", made["id"], "--requested-by", "bob", "--reason", "over", *staff.key("carol"))
    staff.until("globex/one", 200)
    assert "lifted" in staff.run("policy", "denies").stdout
    explained = staff.run("policy", "explain", "initech/never", "--json", check=False)
    assert json.loads(explained.stdout)["policy"] == staff.mirror.get("/-/health/ready").json()["policy"]["digest"]
    until(lambda: [one["outcome"] for one in details(staff, "emergency", made["id"])] == ["denied", "lifted"])


def test_a_name_without_revision_is_explained_by_what_clients_asked_for(staff: Staff) -> None:
    """Clients ask for files of `main`: `explain NAME` has the hub's facts from that page; a group that nobody defined is refused by its name."""
    staff.until("globex/one", 200)
    facts = json.loads(staff.run("policy", "explain", "globex/one#config.json", "--json").stdout)["facts"]
    assert (facts["size"]["value"], facts["published_at"]["value"] is not None) == (2, True)
    wrong = staff.run("policy", "explain", "globex/one", "--as", "lav", check=False)
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "--as: clients.groups has no group 'lav'; there are: none\n")


def test_a_changed_policy_alerts_and_waits(staff: Staff) -> None:
    """An edited file is out of force and shown in readiness, metrics and log until it is signed; the old one answers meanwhile."""
    staff.mirror.policy_path.write_text(POLICY.replace("acme/*", "nobody/*"))
    for _ in range(200):
        ready = staff.mirror.get("/-/health/ready").json()
        if ready["rules"]["waiting"]:
            break
        time.sleep(0.05)
    assert (ready["status"], ready["policy"]["problems"]) == ("ready", 1)
    assert "was changed after it was signed" in ready["rules"]["why"][0]
    assert b"mirror_policy_waiting 1.0" in staff.mirror.get("/-/metrics").body
    assert any("policy not activated" in line for line in staff.mirror.log_lines())
    assert staff.status("acme/two") == 403
    missing = staff.run("policy", "activate", check=False)
    assert (missing.returncode, "was changed after it was signed" in missing.stdout) == (1, True)
    sign(staff, "carol", "--requested-by", "bob", code=1)
    assert staff.status("acme/two") == 403
    sign(staff, "alice")
    staff.until("acme/two", 200)
    assert not staff.mirror.get("/-/health/ready").json()["rules"]["waiting"]
    staff.mirror.policy_path.write_text(POLICY)
    refused = staff.run("policy", "activate", *staff.key("alice"), "--requested-by", "bob", check=False)
    assert (refused.returncode, "--rollback says that you mean it" in refused.stderr) == (2, True)
    sign(staff, "alice", "--requested-by", "bob", "--rollback", code=1)
    sign(staff, "carol")
    staff.until("acme/two", 403)


def test_a_date_that_comes_near_is_told_of(staff: Staff) -> None:
    """The running mirror gives notice of the rule that begins in ten days, and `policy upcoming` lists whom it will touch."""
    staff.until("globex/one", 200)
    for _ in range(200):
        told = [one for one in staff.mirror.events() if one["kind"] == "notice"]
        if told:
            break
        time.sleep(0.2)
    assert {(one["subject"], one["detail"]["edge"], one["detail"]["days"]) for one in told} >= {("dated", "from", 14)}
    rows = [json.loads(line) for line in staff.run("policy", "upcoming", "--json").stdout.splitlines()]
    row = next(row for row in rows if row["id"] == "dated")
    assert [(one["before"], one["after"]) for one in row["changes"]] == [("allow", "deny")]
    assert len(row["clients"]) == 1


def test_keys_are_rotated_under_the_old_ones_endorsement(staff: Staff) -> None:
    """`key rotate` makes a key that the old one endorses; enrolled beside it, it signs for the same person; `key list` shows both."""
    old = staff.key("alice")[1]
    words = ["--passphrase-file", str(staff.folder / "pass"), "--new-passphrase-file", str(staff.folder / "pass"), "--out", str(staff.folder / "rotated")]
    made = staff.json("key", "rotate", old, *words)
    for path in (staff.folder / "rotated").iterdir():
        if ".yaml" in path.name:
            (staff.folder / "cards" / path.name).write_bytes(path.read_bytes())
    rows = {row["id"]: row for row in map(json.loads, staff.run("key", "list", "--json").stdout.splitlines())}
    assert (rows[made["id"]]["person"], rows[made["id"]]["state"], rows[made["id"]]["replaces"] in rows) == ("alice", "valid", True)
    new = next((staff.folder / "rotated").glob("*.key"))
    staff.json("policy", "deny", "initech/none", "--reason", "x", "--key", str(new), "--passphrase-file", str(staff.folder / "pass"))
    Path(str(new)).unlink()


def test_key_errors_name_the_option(tmp_path: Path) -> None:
    """A person, a date or a passphrase that cannot be is refused with exit 2 before anything is written."""
    mirror = MirrorProcess(tmp_path, {})
    (tmp_path / "mirror.yaml").write_text("{}\n")
    (tmp_path / "short").write_text("abc\n")
    (tmp_path / "pass").write_text("correct horse\n")
    for words, said in (
        (("new", "Alice Smith", "--passphrase-file", "pass"), "person"),
        (("new", "alice", "--passphrase-file", "short"), "fewer than 8"),
        (("new", "alice", "--passphrase-file", "none"), "none"),
        (("new", "alice", "--until", "tomorrow", "--passphrase-file", "pass"), "--until"),
        (("new", "alice", "--until", "2020-01-01", "--passphrase-file", "pass"), "is not before until"),
    ):
        done = mirror.command("key", *words, "--out", "keys", check=False)
        assert (done.returncode, said in done.stderr, list(tmp_path.glob("keys/*"))) == (2, True, []), done.stderr


