"""Reviews and quarantines on a running mirror of two workers: held, released, refused, taken back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.cli.test_approvals import FILE, Staff
from tests.support.mirror import MirrorProcess, until
from tests.support.standin.hub import StandInHub, running_hub

RULES = """version: 1
rules:
  - {id: look, when: {artifact: ["acme/*"]}, effect: review}
  - {id: pen, when: {artifact: ["globex/*"]}, effect: quarantine, release: manual}
  - {id: law, when: {artifact: ["umbrella/*"]}, effect: review, legal: true, basis: "house law"}
  - {id: never, when: {artifact: ["acme/bad"]}, effect: deny}
"""
LARGE = 64 << 20
SUBSTITUTES = """
  - {id: gone, when: {artifact: ["soylent/*"]}, effect: deny, suggest: ["acme/bad", "hooli/named"]}
"""
NAMES = ("acme/one", "acme/two", "acme/three", "acme/bad", "globex/one", "globex/two", "umbrella/one", "initech/free", "soylent/x")


@pytest.fixture(scope="module")
def staff(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staff]:
    """Rae may review, and nothing else; Alice and Carol approve."""
    hub = StandInHub()
    for name in NAMES:
        hub.add_repo("model", name, {"config.json": b"{}"}, extra={"pipeline_tag": "text-generation"}, tags=["license:mit"])
    hub.add_repo("model", "weyland/large", {"config.json": b"{}"}, {"big.bin": b"0123456789abcdef" * (LARGE // 16)})
    folder = tmp_path_factory.mktemp("review")
    with running_hub(hub):
        config = {"trust": {"verify": ["cards"]}, "listen": {"workers": 2}, "policy": {"path": "policy.yaml"}}
        mirror = MirrorProcess(folder, {**config, "hubs": {"huggingface": {"upstreams": [hub.url], "origins": [hub.url, hub.cdn_url]}}}, RULES + SUBSTITUTES.lstrip("\n"))
        staff = Staff(mirror)
        (folder / "cards").mkdir()
        (folder / "mirror.yaml").write_text(json.dumps(mirror.config))
        for person, role in (("alice", "approver"), ("carol", "approver"), ("rae", "reviewer")):
            staff.run("key", "new", person, "--role", role, "--passphrase-file", str(folder / "pass"), "--out", str(folder / "keys"))
        for card in (folder / "keys").glob("*.yaml"):
            card.rename(folder / "cards" / card.name)
        mirror.start()
        assert staff.status("initech/free") == 200
        yield staff
        mirror.stop()


def held(staff: Staff, name: str) -> str:
    reply = staff.mirror.get(f"/{name}{FILE}")
    assert reply.status == 403, reply.status
    return reply.headers["X-Mirror-Decision"]


def everywhere(staff: Staff, name: str, status: int) -> None:
    """Each worker looks for new statements by itself: wait until a dozen new connections have one answer."""
    for _ in range(200):
        if {staff.status(name) for _ in range(12)} == {status}:
            return
    raise AssertionError(f"{name} is not {status} everywhere")


def listed(staff: Staff) -> dict[str, tuple[str, str]]:
    rows = map(json.loads, staff.run("review", "list", "--json").stdout.splitlines())
    return {row["artifact"].partition("@")[0].removeprefix("pkg:huggingface/"): (row["state"], row["rule"]) for row in rows}


def told(staff: Staff, identity: str) -> list[str]:
    return [one["detail"]["outcome"] for one in staff.mirror.events() if one["kind"] == "review" and one["subject"] == identity]


def test_a_reviewer_releases_what_is_held_and_takes_it_back(staff: Staff) -> None:
    """A release by the refusal's decision lets all workers serve that revision and no other project; withdrawn, it is held again; all on record."""
    decision = held(staff, "acme/one")
    held(staff, "acme/two")
    assert listed(staff)["acme/one"] == ("waiting", "look")
    made = staff.json("review", "release", decision, "--reason", "card and weights read", *staff.key("rae"))
    assert (made["rule"], made["lifts"], made["in_force"], made["by"]) == ("look", "review", True, ["rae"])
    everywhere(staff, "acme/one", 200)
    assert staff.status("acme/two") == 403
    assert (listed(staff)["acme/one"], listed(staff)["acme/two"]) == (("released", "look"), ("waiting", "look"))
    staff.run("review", "withdraw", made["id"], "--reason", "a doubt", *staff.key("carol"))
    staff.until("acme/one", 403)
    assert listed(staff)["acme/one"] == ("waiting", "look")
    until(lambda: told(staff, made["id"]) == ["released", "withdrawn"])  # recorded by the keeper, beside what the workers do


def test_a_manual_quarantine_ends_by_release_and_a_refusal_denies(staff: Staff) -> None:
    """A manual quarantine is released project by project; what a reviewer rejects is denied with the reason, over the hold."""
    made = staff.json("review", "release", held(staff, "globex/one"), "--reason", "ok", *staff.key("rae"))
    assert made["lifts"] == "quarantine"
    staff.until("globex/one", 200)
    refused = staff.json("review", "reject", held(staff, "globex/two"), "--reason", "pickles inside", *staff.key("rae"))
    for _ in range(400):
        reply = staff.mirror.get(f"/globex/two{FILE}")
        if "reviewed and refused: pickles inside" in reply.headers["X-Error-Message"]:
            break
        time.sleep(0.025)
    else:
        raise AssertionError(reply.headers["X-Error-Message"])
    assert listed(staff)["globex/two"] == ("refused", "pen")
    until(lambda: told(staff, refused["id"]) == ["refused"])


def test_a_release_is_no_waiver_and_a_reviewer_no_approver(staff: Staff) -> None:
    """A denial cannot be released, a release of the hold does not lift it; a legal hold takes two; a reviewer's key approves no emergency."""
    decision = held(staff, "acme/bad")
    staff.json("review", "release", decision, "--reason", "ok", *staff.key("rae"))
    wrong = staff.run("review", "release", decision, "--rule", "never", "--reason", "ok", *staff.key("rae"), check=False)
    assert (wrong.returncode, "no rule in force holds for a person" in wrong.stderr) == (2, True), wrong.stderr
    first = staff.json("review", "release", held(staff, "umbrella/one"), "--reason", "ok", *staff.key("rae"))
    assert (first["need"], first["in_force"]) == (2, False)
    assert staff.status("umbrella/one") == 403
    again = staff.run("review", "sign", first["id"], *staff.key("rae"), check=False)
    assert (again.returncode, "has signed already" in again.stderr) == (2, True), again.stderr
    assert staff.json("review", "sign", first["id"], *staff.key("alice"))["in_force"]
    staff.until("umbrella/one", 200)
    assert staff.status("acme/bad") == 403  # long after the release from `look` came into force
    emergency = staff.run("policy", "deny", "initech/*", "--reason", "no", *staff.key("rae"), check=False)
    assert (emergency.returncode, "'rae' is no approver" in emergency.stderr) == (2, True), emergency.stderr
    assert staff.status("initech/free") == 200


def test_a_changed_rule_opens_its_releases_again(staff: Staff) -> None:
    """Once the text of a rule means something else, what was released from it is held again, and readiness and the list say why."""
    staff.json("review", "release", held(staff, "acme/three"), "--reason", "ok", *staff.key("rae"))
    staff.until("acme/three", 200)
    (staff.folder / "policy.yaml").write_text((RULES + SUBSTITUTES.lstrip("\n")).replace('["acme/*"]}, effect', '["acme/*", "hooli/*"]}, effect'))
    staff.until("acme/three", 403)
    [row] = [row for row in map(json.loads, staff.run("review", "list", "--state", "reopened", "--json").stdout.splitlines()) if "acme/three" in row["artifact"]]
    assert row["why"] == "the rule has changed since"
    (staff.folder / "policy.yaml").write_text(RULES + SUBSTITUTES.lstrip("\n"))
    staff.until("acme/three", 200)


def test_a_refusal_names_what_was_served_here_and_is_permitted(staff: Staff) -> None:
    """The rule's own suggestion, unless refused itself, then what this mirror has served for the same task, each with its reason, in sentence and body."""
    for _ in range(300):  # each worker gathers for itself, and has the rules a moment sooner or later than the other
        reply = staff.mirror.get(f"/soylent/x{FILE}")
        if {"initech/free", "hooli/named"} <= set(reply.json()["suggestions"]):
            break
        time.sleep(0.05)
    body = reply.json()
    assert body["alternatives"][0] == {"artifact": "hooli/named", "why": "named by the rule"}
    why = {row["artifact"]: row["why"] for row in body["alternatives"]}
    assert why["initech/free"] == "same task (text-generation), size unknown, licence mit, origin unknown"
    assert "acme/bad" not in why
    assert body["suggestions"] == list(why)
    assert f"Permitted instead: {', '.join(body['suggestions'][:3])}" in body["detail"]


def test_what_must_not_be_used_any_more_is_refused_and_its_holders_are_named(staff: Staff) -> None:
    """`use: forbidden` refuses what is cached, tells clients to drop their copies, and `ledger holders` names who has it, by artifact and by rule."""
    everywhere(staff, "initech/free", 200)
    (staff.folder / "policy.yaml").write_text(RULES + SUBSTITUTES.lstrip("\n") + '  - {id: ban, when: {artifact: ["initech/*"]}, effect: deny, use: forbidden}\n')
    everywhere(staff, "initech/free", 403)
    reply = staff.mirror.get(f"/initech/free{FILE}")
    assert (reply.json()["use"], reply.headers["X-Error-Code"]) == ("forbidden", "RevisionNotFound")
    assert "Copies that are there already must not be used." in reply.headers["X-Error-Message"]
    by_rule, by_name = (json.loads(staff.run("ledger", "holders", *words, "--json").stdout) for words in (("--rule", "ban"), ("initech/*",)))
    assert by_rule == by_name
    assert by_rule["artifact"].startswith("pkg:huggingface/initech/free@")
    assert (by_rule["files"], by_rule["requests"] >= 1, bool(by_rule["client"])) == (1, True, True)
    assert staff.run("ledger", "holders", "soylent/*", check=False).returncode == 1
    (staff.folder / "policy.yaml").write_text(RULES + SUBSTITUTES.lstrip("\n"))


def test_a_signed_emergency_ends_a_transfer_under_way(staff: Staff) -> None:
    """A client that is in the midst of a large file when an approver signs a deny does not get its end; both are on record."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # else the kernel may take all of it for a client that does not read
        client.settimeout(60)
        client.connect(("127.0.0.1", staff.mirror.port))
        client.sendall(b"GET /weyland/large/resolve/main/big.bin HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        got = len(client.recv(65536))
        made = staff.json("policy", "deny", "weyland/*", "--reason", "an order came in", *staff.key("alice"))
        everywhere(staff, "weyland/large", 403)
        for _ in range(400):  # those under way are looked at every half second; until then a reader gets all it can take
            if any(one["kind"] == "ended" for one in staff.mirror.events()):
                break
            time.sleep(0.025)
        with suppress(ConnectionResetError):
            while block := client.recv(1 << 20):
                got += len(block)
    assert 0 < got < LARGE
    [ended] = [one for one in staff.mirror.events() if one["kind"] == "ended"]
    assert (ended["detail"]["artifact"].endswith("#big.bin"), ended["detail"]["sent"] < LARGE) == (True, True)
    said = [one["decision"]["rules"][0]["id"] for one in staff.mirror.events() if one["kind"] == "refused" and "weyland/large" in one["decision"]["artifact"]]
    assert set(said) == {"emergency-" + made["id"].removeprefix("D-").lower()}


def test_every_decision_on_record_is_found_again(staff: Staff) -> None:
    """Releases, refusals and substitutes included, each recorded decision follows from its facts and the archive."""
    done = staff.run("policy", "replay", "--verify", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
