"""Who asked is shown to nobody, until two people open a view; holds, erasure and expiry as people run them."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mirror.audit.segments import Reader
from mirror.trust.pseudonyms import PseudonymKeys, pseudonym
from tests.audit.samples import ACTOR, decision
from tests.cli.test_ledger import _filled
from tests.support import preloaded
from tests.support.signers import Person

SECRETS = (ACTOR.name, ACTOR.address, "hf/2.0", "download=true")
LATER = (datetime.now(UTC) + timedelta(days=30)).date().isoformat()


class Office:
    """A ledger without a mirror, and people whose keys lie in its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "mirror.yaml").write_text("data: data\ntrust: {verify: [cards]}\nledger: {reserve: 1MiB}\n")
        for name in ("alice", "bob", "carol"):
            one = Person(name)
            one.enrol(folder / "cards")
            from mirror.trust.keyfiles import write_key

            write_key(folder / f"{name}.key", one.private, "correct horse")
        (folder / "pass").write_text("correct horse\n")

    def run(self, *words: str, code: int = 0):
        done = preloaded.run(["-c", str(self.folder / "mirror.yaml"), *words], cwd=self.folder)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def told(self, *words: str, code: int = 0):
        return [json.loads(line) for line in self.run(*words, "--json", code=code).stdout.splitlines()]

    def key(self, person: str) -> list[str]:
        return ["--key", str(self.folder / f"{person}.key"), "--passphrase-file", str(self.folder / "pass")]

    def recorded(self, kind: str) -> list[dict]:
        return [record["detail"] for record in Reader(self.folder / "data" / "ledger").read(1000) if record["kind"] == kind]


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Office:
    folder = tmp_path_factory.mktemp("office")
    office = Office(folder)
    asyncio.run(_filled(folder))
    return office


def test_closed(office):
    """By default no command shows who asked, from where, with what; nor does one answer for a pseudonym."""
    for words in (["ledger", "tail", "-n", "99"], ["ledger", "query"], ["ledger", "query", "--csv"], ["ledger", "holders", "umbrella/*"]):
        said = office.run(*words).stdout
        assert said and not any(secret in said for secret in SECRETS), words
    for words in (["ledger", "tail", "-n", "99", "--json"], ["ledger", "query", "--json"], ["ledger", "holders", "umbrella/*", "--json"]):
        said = office.run(*words).stdout
        assert said and not any(secret in said for secret in SECRETS), words
    for words in (["policy", "explain", decision(1).id], ["policy", "explain", decision(1).id, "--json"]):
        said = office.run(*words, code=1).stdout
        assert decision(1).id in said and not any(secret in said for secret in SECRETS), words
    assert office.told("ledger", "holders", "umbrella/*")[0]["clients"] == 1
    assert "two approvers" in office.run("ledger", "query", "--actor", ACTOR.name, code=2).stderr
    assert "two approvers" in office.run("ledger", "prove", "3", "--personal", code=2).stderr
    assert not office.recorded("view")


def test_two_people_open_a_view(office):
    """One signature opens nothing, nor does the asker's; two do, until the date, and each use is recorded without the pseudonym."""
    ask = ["ledger", "views", "open", "--matter", "case 7", "--reason", "a leak", "--requested-by", "carol", "-y"]
    assert "carol" in office.run(*ask, "--until", LATER, *office.key("carol"), code=2).stderr
    assert "is past" in office.run(*ask, "--until", "2020-01-01", *office.key("alice"), code=2).stderr
    view = office.told(*ask, "--until", LATER, *office.key("alice"))[0]["id"]
    assert "another approver" in office.run("ledger", "query", "--actor", ACTOR.name, "--view", view, code=2).stderr
    assert "signed already" in office.run("ledger", "views", "sign", view, *office.key("alice"), "-y", code=2).stderr
    assert office.told("ledger", "views", "sign", view, *office.key("bob"), "-y")[0]["open"]
    assert office.told("ledger", "views", "list")[0]["state"] == "open"
    shown = office.told("ledger", "query", "--actor", ACTOR.name, "--view", view)
    assert shown and all(record["actor"]["name"] == ACTOR.name for record in shown)
    assert ACTOR.name in office.run("ledger", "holders", "umbrella/*", "--view", view).stdout
    assert ACTOR.name in office.run("policy", "explain", decision(1).id, "--view", view, code=1).stdout
    assert "--view" in office.run("policy", "explain", "acme/x", "--view", view, code=2).stderr
    opened, *used = office.recorded("view")
    assert (opened["outcome"], opened["approved_by"], opened["matter"]) == ("opened", ["alice", "bob"], "case 7")
    assert [(one["outcome"], one["id"], one["command"]) for one in used] == [
        ("used", view, "ledger query"), ("used", view, "ledger holders"), ("used", view, "policy explain")
    ]  # fmt: skip
    assert ACTOR.name not in json.dumps(used)
    assert "there is no view" in office.run("ledger", "tail", "--view", "V-nonsense", code=2).stderr


def test_holds_and_erasure(office):
    """A hold is added by anybody and lifted by an approver who did not add it; while it stands nothing that it covers is erased."""
    identity = office.told("hold", "add", "case 8", "--reason", "court", "--by", "alice", "--artifact", "pkg:huggingface/umbrella/")[0]["id"]
    assert [row["id"] for row in office.told("hold", "list")] == [identity]
    erase = ["ledger", "erase", "--actor", ACTOR.name, "--reason", "ticket 9", "--by", "dpo", "-y"]
    assert "case 8" in office.run(*erase, code=2).stderr
    assert "approvers are enrolled" in office.run("hold", "lift", identity, "--reason", "settled", "--by", "bob", code=2).stderr
    assert "alice" in office.run("hold", "lift", identity, "--reason", "settled", *office.key("alice"), code=2).stderr
    office.run("hold", "lift", identity, "--reason", "settled", *office.key("bob"))
    assert office.told("hold", "list") == []
    assert office.told(*erase)[0]["records"] == 21
    assert office.told(*erase, code=1)[0]["records"] == 0
    assert [one["by"] for one in office.recorded("erased")] == ["dpo"]
    assert office.run("ledger", "erase", "--reason", "x", code=2).stderr
    assert "--reason" in office.run("ledger", "erase", "--seq", "3", "--reason", " ", "-y", code=2).stderr
    assert json.loads(office.run("ledger", "verify", "--no-evidence", "--json").stdout)["erased"] == 21
    nothing = office.run("hold", "add", " ", "--reason", "", "--artifact", "umbrella", "--artifact", "pkg:huggingface/acme/*", "--actor", "jane", code=2).stderr
    assert [line.partition(":")[0] for line in nothing.splitlines()] == ["MATTER", "--reason", "--artifact", "--artifact", "--actor"]
    assert "printed" in office.run("hold", "add", "case 9\nH-0", "--reason", "y", code=2).stderr
    assert office.told("hold", "list") == []
    assert "--until" in office.run("hold", "add", "x", "--reason", "y", "--since", "2026-02-01", "--until", "2026-01-01", code=2).stderr


def test_expire(office):
    """Nothing goes while the clock is in doubt, which is exit 1; with the word that it is right, what has had its time."""
    assert "clock" in office.told("ledger", "expire", code=1)[0]["why"]
    assert office.told("ledger", "expire", "--clock-is-right", "--dry-run")[0]["records"] == 0
    assert "removed" in office.run("ledger", "expire", "--clock-is-right").stdout


def test_who(office, tmp_path):
    """The pseudonyms of an address are given by a view or not at all, for each period of which there is a key."""
    assert "two approvers" in office.run("ledger", "who", "10.8.0.9", code=2).stderr
    (tmp_path / "mirror.yaml").write_text("data: data\nledger: {views: {people: open}}\n")
    open_house = Office.__new__(Office)
    open_house.folder = tmp_path
    PseudonymKeys(tmp_path / "data" / "pseudonyms", timedelta(days=365)).current(datetime.now(UTC))
    (tmp_path / "data" / "secret.key").write_bytes(b"k" * 32)
    rows = open_house.told("ledger", "who", "::ffff:10.8.0.9")
    assert [row["period"] for row in rows] == [0, 1] and rows[0]["pseudonym"] == "a:" + pseudonym(b"k" * 32, "10.8.0.9")
    said = [line.split("  ") for line in open_house.run("ledger", "who", "10.8.0.9").stdout.splitlines()]
    assert [(row[1], row[3]) for row in said] == [("0", "-"), ("1", "now")] and said[0][2] == "-"
    assert "standard input" in open_house.run("ledger", "who", "hf_notasecret", code=2).stderr
