"""A bundle from one mirror to another that has no way out, as people carry it: export, import, and real answers there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mirror.bundle import verify_bundle
from mirror.bundle.layout import BundleReader
from mirror.bundle.signed_time import note
from mirror.cli.refusals import Left, told_shortly
from mirror.core import dsse
from mirror.policy.approval import Enrolled
from mirror.trust.enrolment import card_text
from mirror.trust.keyfiles import read_key
from tests.catalogue.test_running import PUBLISHERS, VENDOR, pack
from tests.support.mirror import ALLOW_ALL, MirrorProcess, running_mirror
from tests.support.signers import BEGIN
from tests.support.standin import ALICE, running_hub, running_index

WANTS = """
version: 1
name: lab
models:
  - {id: acme/tiny-bert}
  - {id: hooli/solid-7b-merge, allow: ["config.json", "README.md"]}
datasets:
  - {id: acme/reviews}
packages:
  - {requirement: "acme-app==1.0", python: ["3.11"], platforms: [linux]}
  - {requirement: "acme-attested", python: ["3.11"], platforms: [linux]}
"""


def enrolled(sender: MirrorProcess, folder: Path) -> Path:
    """A card for the sender's machine key in a folder of the receiver's."""
    public = read_key(sender.folder / "data" / "signing.key", lambda: "").public_key()
    folder.mkdir(parents=True, exist_ok=True)
    card = Enrolled(dsse.key_id(public), public, "hq", "Headquarters", frozenset({"sender"}), BEGIN)
    (folder / "hq.yaml").write_text(card_text(card))
    return folder


def here(mirror: MirrorProcess) -> MirrorProcess:
    """The running mirror's configuration names the port on which it came to listen."""
    path = mirror.folder / "mirror.yaml"
    path.write_text(path.read_text().replace("port: 0", f"port: {mirror.port}"))
    return mirror


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    with running_hub() as hub, running_index() as index, running_mirror(tmp_path_factory.mktemp("sender"), hub, index, ALLOW_ALL) as mirror:
        mirror.hub, mirror.index = hub, index
        yield here(mirror)


def sender_origin(sender: MirrorProcess) -> str:
    """As a person finds it out: the one sender of all that was sent."""
    [origin] = {json.loads(line)["sender"] for line in sender.command("bundle", "list", "--json").stdout.splitlines()}
    return str(origin)


def export(sender: MirrorProcess, name: str, *more: str) -> tuple[int, dict]:
    (sender.folder / "wants.yaml").write_text(WANTS)
    done = sender.command("bundle", "export", "wants.yaml", "-o", str(sender.folder / name), "--json", *more, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def test_what_is_carried_is_answered_without_a_network(sender, tmp_path):
    """Files, pages, references, trees and packages come from a mirror that has nothing but a bundle."""
    code, told = export(sender, "lab.tar")
    assert (code, told["number"], told["left_out"]) == (0, 1, [])
    done = sender.command("bundle", "export", "wants.yaml", "-o", str(tmp_path / "not-mounted" / "lab.tar"), check=False)
    assert (done.returncode, "there is no folder" in done.stderr, (tmp_path / "not-mounted").exists()) == (2, True, False)
    verified = json.loads(sender.command("bundle", "verify", str(sender.folder / "lab.tar"), "--key", str(enrolled(sender, tmp_path / "cards")), "--json").stdout)
    assert (verified["parts"], verified["bytes"]) == (told["parts"], told["bytes"])
    lab = tmp_path / "lab"
    cards = enrolled(sender, tmp_path / "cards")
    with running_mirror(lab, policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}) as mirror:
        here(mirror)
        assert mirror.get("/api/models/acme/tiny-bert").status == 404
        done = mirror.command("bundle", "import", str(sender.folder / "lab.tar"), "--json", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        taken = json.loads(done.stdout)
        assert taken["refused"] == []
        counted = dsse.read(Path(taken["receipt"]).read_bytes(), "receipt").payload
        assert (taken["files"], taken["parts"], json.loads(counted)["taken"]["files"]) == (told["files"], told["parts"], told["files"])
        for target in (
            "/api/models/acme/tiny-bert", "/api/models/acme/tiny-bert/revision/main", "/api/models/acme/tiny-bert/refs",
            "/acme/tiny-bert/resolve/main/model.safetensors", "/api/datasets/acme/reviews", "/datasets/acme/reviews/resolve/main/data/train.csv",
            "/pypi/pypi/acme-attested/json", "/pypi/simple/acme-attested/", "/pypi/integrity/acme-attested/1.0/acme_attested-1.0-py3-none-any.whl/provenance",
            "/api/models/acme/tiny-bert/tree/main?recursive=true", "/api/models/acme/tiny-bert/tree/main",
        ):
            there, ours = sender.get(target), mirror.get(target)
            assert ours.status == there.status == 200, (target, ours.status, ours.body[:300])
            assert ours.body.replace(mirror.url.encode(), b"") == there.body.replace(sender.url.encode(), b""), target


def take(mirror: MirrorProcess, path: Path, *more: str) -> tuple[int, dict]:
    done = mirror.command("bundle", "import", str(path), "--json", *more, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.returncode, json.loads(done.stdout)


def refuse(mirror: MirrorProcess, path: Path, *more: str) -> str:
    """What an import says that takes nothing in."""
    done = mirror.command("bundle", "import", str(path), *more, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    return done.stderr


def test_the_receivers_own_policy_decides(sender, tmp_path):
    """What the receiver denies is not imported, is on its record as refused, and stands in the receipt; who asks for it is told that refusal, also where the rule has gone; a later export by that receipt offers it again."""
    export(sender, "policy.tar", "--name", "policy")
    lab, cards = tmp_path / "lab", enrolled(sender, tmp_path / "cards")
    rules = 'version: 1\nrules:\n  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}\n  - {id: attested, when: {artifact: ["pkg:pypi/acme-attested"]}, effect: deny}\n'
    rules += '  - {id: rows, when: {artifact: ["pkg:huggingface/acme/reviews?repo_type=dataset"], file: ["*"]}, effect: deny, reason: "rows are not for us"}\n'
    with running_mirror(lab, policy=rules, network="offline", trust={"verify": [str(cards)]}) as mirror:
        here(mirror)
        code, told = take(mirror, sender.folder / "policy.tar")
        assert code == 1
        assert {one["rule"] for one in told["refused"]} == {"pickle", "attested", "rows"}
        refused = {event["decision"]["artifact"] for event in mirror.events() if event["kind"] == "refused"}
        assert refused == {one["artifact"] for one in told["refused"]}
        page = mirror.get("/pypi/simple/acme-attested/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
        answer = mirror.get(page["files"][0]["url"].removeprefix(mirror.url))
        assert (answer.status, "'attested'" in answer.reason) == (403, True), "its page came along, so that whoever asks is told which rule refuses it"
        data = mirror.get("/datasets/acme/reviews/resolve/main/data/train.csv")
        assert (data.status, data.json()["rule"]) == (403, "rows")
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 200
        receipt, sentences = Path(told["receipt"]), {one["decision"]: one["sentence"] for one in told["refused"]}
        assert {one["artifact"] for one in json.loads(dsse.read(receipt.read_bytes(), "receipt").payload)["refused"]} == refused
    code, again = export(sender, "policy-2.tar", "--name", "policy", "--since", str(receipt))
    assert (code, again["since"]) == (0, 1)
    assert 0 < again["bytes"] < again["whole"]
    with running_mirror(lab, policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}) as mirror:
        here(mirror)
        wheel = mirror.get("/pypi/simple/acme-attested/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()["files"][0]["url"].removeprefix(mirror.url)
        for target, rule in ((wheel, "attested"), ("/acme/tiny-bert/resolve/main/pytorch_model.bin", "pickle"), ("/datasets/acme/reviews/resolve/main/data/train.csv", "rows")):
            answer = mirror.get(target)
            said = answer.json()
            assert (answer.status, said["rule"], said["bundle"], said["reason"]) == (403, rule, "policy 1", sentences[said["decision"]])
            assert f"The rule '{rule}' is not in force any more: it must be sent and imported again." in said["detail"]
            assert mirror.get(said["instance"]).status == 200
            [noted] = [event for event in mirror.events() if event["kind"] == "route_refused" and dict(event["detail"])["rule"] == rule]
            assert dict(noted["detail"])["decision"] == said["decision"]
        assert "never fetched" in mirror.get("/nobody/asked/resolve/main/config.json").json()["detail"]
        assert take(mirror, sender.folder / "policy-2.tar")[1]["refused"] == []
        assert mirror.get("/pypi/simple/acme-attested/").status == 200


def test_a_delta_is_minimal_and_in_its_turn(sender, tmp_path):
    """A delta carries new files and nothing that the receiver has; without its ground, and out of turn, nothing of it is imported."""
    export(sender, "one.tar", "--name", "turn")
    _, nothing = export(sender, "two.tar", "--name", "turn", "--since", "1")
    assert (nothing["files"], nothing["parts"]) == (0, 1)  # the contents: that there is nothing
    (sender.folder / "more.yaml").write_text("version: 1\nname: turn\nmodels: [{id: acme/tiny-bert}, {id: globex/solid-7b, allow: [config.json]}]\n")
    done = sender.command("bundle", "export", "more.yaml", "-o", str(sender.folder / "three.tar"), "--json", "--since", str(sender.folder / "one.tar"))
    third = json.loads(done.stdout)
    assert (third["since"], third["number"]) == (1, 3)
    with BundleReader(sender.folder / "three.tar") as reader, BundleReader(sender.folder / "one.tar") as first:
        assert not {part.digest for part in reader.parts.values()} & {part.digest for part in first.parts.values()}
    cards = enrolled(sender, tmp_path / "cards")
    with running_mirror(tmp_path / "lab", policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}) as mirror:
        here(mirror)
        assert "import 1 first" in refuse(mirror, sender.folder / "three.tar")
        take(mirror, sender.folder / "one.tar")
        assert take(mirror, sender.folder / "three.tar")[1]["refused"] == []
        assert mirror.get("/globex/solid-7b/resolve/main/config.json").status == 200
        assert "--allow-rollback" in refuse(mirror, sender.folder / "one.tar")
        assert take(mirror, sender.folder / "one.tar", "--allow-rollback")[0] == 0
        kinds = [event["subject"] for event in mirror.events() if event["kind"] == "bundle"]
        assert kinds == ["turn 1", "turn 3", "turn 1"]


def test_a_recall_is_in_force_before_anything_else(sender, tmp_path):
    """A signed withdrawal refuses at the receiver what it names, at once and after a restart, and nothing else."""
    export(sender, "all.tar", "--name", "recalled")
    done = sender.command("bundle", "export", "--recall", "acme/tiny-bert", "--reason", "an order came in", "--legal", "-o", str(sender.folder / "recall.tar"), "--json")
    assert (json.loads(done.stdout)["purpose"], json.loads(done.stdout)["unknown"]) == ("recall", [])
    cards = enrolled(sender, tmp_path / "cards")
    with running_mirror(tmp_path / "lab", policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}) as mirror:
        here(mirror)
        take(mirror, sender.folder / "all.tar")
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 200
        policy = mirror.get("/-/health/ready").json()["policy"]
        assert take(mirror, sender.folder / "recall.tar")[1]["recalled"] == ["acme/tiny-bert"]
        until(lambda: mirror.get("/-/health/ready").json()["policy"] != policy)
        answer = mirror.get("/acme/tiny-bert/resolve/main/config.json")
        assert (answer.status, b"an order came in" in answer.body) == (451, True)
        assert mirror.get("/datasets/acme/reviews/resolve/main/data/train.csv").status == 200
        mirror.stop()
        mirror.start()
        answer = mirror.get("/acme/tiny-bert/resolve/main/config.json")
        said = answer.json()
        day = datetime.now(UTC).date()
        assert (answer.status, said["rule"]) == (451, "recall-hq-recall-1")
        assert re.search(rf"an order came in \(withdrawn by hq, \S+, with bundle recall 1 of {day}\)", said["reason"])
        assert said["reason"] in said["detail"]
        assert said["reason"] in mirror.get(said["instance"], headers={"Accept": "text/html"}).body.decode()
        listed = json.loads(mirror.command("bundle", "recalls", "--json").stdout)["recalls"]
        assert [(one["recall"], one["artifacts"], one["legal"]) for one in listed] == [("recall-hq-recall-1", ["acme/tiny-bert"], True)]
        assert "no recall of this name" in mirror.command("bundle", "lift", "recall-hq-recall-2", "--reason", "x", check=False).stderr
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 451
        listed = [json.loads(line) for line in mirror.command("bundle", "list", "--json").stdout.splitlines()]
        assert [(one["direction"], one["name"], one["recalls"], one["in_force"]) for one in listed] == [
            ("received", "recall", ["acme/tiny-bert"], True), ("received", "recalled", [], False),
        ]  # fmt: skip
        assert (listed[1]["files"] > 0, listed[1]["refused"], listed[1]["sender"], listed[1]["number"]) == (True, 0, sender_origin(sender), 1)
        assert f"recall 1, received from {sender_origin(sender)}" in mirror.command("ledger", "query", "--kind", "bundle").stdout
        sent = sender.command("bundle", "list").stdout
        assert re.search(r"^sent +recall 1 .* acme/tiny-bert$", sent, re.MULTILINE)
        assert "recall 1, sent" in sender.command("ledger", "query", "--kind", "bundle").stdout
        later = datetime.now(UTC) + timedelta(hours=3)
        note(mirror.folder / "data", later)  # this laboratory's clock is behind a bundle
        mirror.command("bundle", "lift", "recall-hq-recall-1", "--reason", "the order was set aside")
        (event,) = (one for one in mirror.events() if one["kind"] == "bundle" and one["detail"].get("outcome") == "lifted")
        assert datetime.fromisoformat(event["at"]) >= later  # it is recorded by the same time as everything else
        assert json.loads(mirror.command("bundle", "recalls", "--json").stdout)["recalls"] == []
        lifted = json.loads(mirror.command("bundle", "list", "--json").stdout.splitlines()[0])
        assert (lifted["recalls"], lifted["in_force"]) == (["acme/tiny-bert"], False)
        [event] = [one for one in mirror.events() if one["kind"] == "bundle" and dict(one["detail"])["outcome"] == "lifted"]
        assert (event["subject"], dict(event["detail"])["reason"]) == ("recall 1", "the order was set aside")
        until(lambda: mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 200)
        assert "was imported already" in refuse(mirror, sender.folder / "recall.tar")


def test_a_recall_comes_in_where_no_room_is_left(sender, tmp_path):
    """A receiver whose disk is below `store.min_free` takes in a recall, which needs no room, with a receipt and its turn; content it refuses, and a receipt that could not be put where it was told to."""
    command = ("bundle", "export", "--recall", "acme/other", "--reason", "an order came in", "--name", "full")
    done = sender.command(*command, "-o", str(sender.folder / "full.tar"), "--json")
    assert json.loads(done.stdout)["unknown"] == ["acme/other"]  # nobody here ever had it: withdrawn all the same
    export(sender, "too-much.tar", "--name", "too-much")
    cards = enrolled(sender, tmp_path / "cards")
    room = {"min_free": "90TiB"}
    with running_mirror(tmp_path / "lab", policy=ALLOW_ALL, network="offline", trust={"verify": [str(cards)]}, store=room) as mirror:
        lost = str(tmp_path / "nowhere" / "receipt.json")
        assert "--receipt: there is no folder" in refuse(mirror, sender.folder / "full.tar", "--receipt", lost)
        code, told = take(mirror, sender.folder / "full.tar")
        assert (code, told["recalled"], Path(told["receipt"]).is_file()) == (0, ["acme/other"], True)
        assert "free above store.min_free" in refuse(mirror, sender.folder / "too-much.tar")


def until(holds) -> None:
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to be within 10 s")


NAMES = "name\nUmbrella Works Ltd\nInitech Trading\n"


def test_lists_come_along_and_grow_old_by_signed_time(sender_with_list, tmp_path):
    """The signed pack of publishers comes with the bundle; a list that is fetched elsewhere comes with the bundle; its age counts from when its source was asked, by the bundle's time where the clock is behind, which is told."""
    cards = enrolled(sender_with_list, tmp_path / "cards")
    lists = {"house": {"loader": "csv", "source": "https://lists.example/house.csv", "guards": {"max_age": "2d"}}}
    VENDOR.enrol(cards)
    config = {
        "listen": {"host": "127.0.0.1", "port": 0}, "network": "offline", "trust": {"verify": [str(cards)]}, "lists": lists,
        "catalogue_pack": {"source": "https://packs.example/vendor.pack"},
    }  # fmt: skip
    lab = MirrorProcess(tmp_path / "lab", config, ALLOW_ALL)
    assert "house" in refused_start(lab)
    refused = lab.command("policy", "check", check=False)
    assert (refused.returncode, "the first comes with a bundle" in refused.stderr, "refresh" in refused.stderr) == (2, True, False), refused.stderr
    tried = lab.command("bundle", "import", str(sender_with_list.folder / "lists.tar"), "--dry-run", check=False)
    assert (tried.returncode, [one.name for one in (tmp_path / "lab" / "data").glob("lists/*/current")]) == (0, []), tried.stderr
    done = lab.command("bundle", "import", str(sender_with_list.folder / "lists.tar"), "--json", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asked again" not in lab.command("list", "status", check=False).stdout

    def standing() -> tuple[str, bool]:
        report = lab.get("/-/health/ready").json()
        return report["lists"][0]["state"], any("behind" in text for text in report["rules"]["why"])

    newest = tmp_path / "lab" / "data" / "bundles" / "newest"
    lab.start()
    try:
        assert standing() == ("in force", False)
        until(lambda: (lab.get("/-/health/ready").json()["catalogue"]["pack"] or {}).get("number") == 1)
    finally:
        lab.stop()
    # As a laboratory sees it whose clock has fallen behind by a year: bundles were signed long after its own time.
    newest.write_text("2030-01-01T00:00:00.000000Z\n")
    lab.start()
    try:
        assert standing() == ("stale", True)
        assert "stale" in lab.command("list", "status", "--json", check=False).stdout
    finally:
        lab.stop()


def refused_start(mirror: MirrorProcess) -> str:
    try:
        mirror.start()
    except AssertionError as error:
        return str(error)
    mirror.stop()
    raise AssertionError("it started")


@pytest.fixture
def sender_with_list(sender, tmp_path):
    """The same sender with a list of its own, and a bundle."""
    from tests.support.mirror import upstream_config

    (tmp_path / "house.csv").write_text(NAMES)
    VENDOR.enrol(tmp_path / "hq-cards")
    (tmp_path / "vendor.pack").write_bytes(pack(1, PUBLISHERS))
    config = {
        **upstream_config(sender.hub, sender.index), "lists": {"house": {"loader": "csv", "source": str(tmp_path / "house.csv")}},
        "catalogue_pack": {"source": str(tmp_path / "vendor.pack")}, "trust": {"verify": [str(tmp_path / "hq-cards")]},
    }  # fmt: skip
    with running(MirrorProcess(tmp_path / "hq", config, ALLOW_ALL)) as mirror:
        here(mirror)
        until(lambda: (mirror.get("/-/health/ready").json()["catalogue"]["pack"] or {}).get("number") == 1)
        (mirror.folder / "few.yaml").write_text("version: 1\nname: lists\nmodels: [{id: acme/tiny-bert, allow: [config.json]}]\n")
        mirror.command("bundle", "export", "few.yaml", "-o", str(mirror.folder / "lists.tar"))
        yield mirror


@contextmanager
def running(mirror: MirrorProcess):
    mirror.start()
    try:
        yield mirror
    finally:
        mirror.stop()


def test_what_the_sender_refuses_stays_out(sender, tmp_path):
    """Under the sender's policy a denied file is not exported, is told with its decision, and is on the record; exit 1."""
    from tests.support.mirror import upstream_config

    rules = 'version: 1\nrules:\n  - {id: pickle, when: {file: ["*.bin"]}, effect: deny}\n'
    with running(MirrorProcess(tmp_path / "hq", upstream_config(sender.hub, sender.index), rules)) as mirror:
        here(mirror)
        (mirror.folder / "wants.yaml").write_text("version: 1\nname: few\nmodels: [{id: acme/tiny-bert}, {id: acme/gated-auto}]\n")
        done = mirror.command("bundle", "export", "wants.yaml", "-o", str(mirror.folder / "few.tar"), "--json", check=False)
        told = json.loads(done.stdout)
        assert done.returncode == 1
        left = {one["name"].rpartition("#")[2]: (one["state"], one["rule"]) for one in told["left_out"]}
        assert left["pytorch_model.bin"] == ("refused", "pickle")
        assert any(state == "withheld" for state, _ in left.values())  # the gate's, in nobody's name
        with BundleReader(mirror.folder / "few.tar") as reader:
            titles = {part.title for part in reader.parts.values()}
        assert any(title.endswith("/model.safetensors") for title in titles)
        assert not any(".bin" in title or title.startswith("huggingface/models/acme/gated-auto") for title in titles)
        done = mirror.command("bundle", "export", "wants.yaml", "-o", str(mirror.folder / "more.tar"), "--name", "lent", "--token", ALICE, "--json", check=False)
        assert {one["rule"] for one in json.loads(done.stdout)["left_out"]} == {"pickle"}
        with BundleReader(mirror.folder / "more.tar") as reader:
            rows = [json.loads(line) for part in reader.parts.values() if part.title == "contents.jsonl" for line in reader.read(part).splitlines()]
        lent = [row for row in rows if row["row"] == "grant"]
        assert {row["project"]["name"] for row in lent} == {"acme/gated-auto"}
        # The organisation may read it; nobody's name may not, as the hub said when it was asked in nobody's.
        assert sorted((row["credential"], row["allowed"], row["cause"]) for row in lent) == [("", False, "gated"), ("service", True, "bundle")]
        events = mirror.events()
        [event, _] = [one for one in events if one["kind"] == "bundle"]
        assert (event["subject"], event["detail"]["outcome"]) == ("few 1", "exported")
        assert any(one["kind"] == "refused" and one["decision"]["artifact"].endswith("#pytorch_model.bin") for one in events)


def test_stores_and_pins_in_volumes_to_several_workers(sender, tmp_path):
    """All of the store, or what a wanted list has pinned, in volumes, reaches a mirror of several workers, each of which answers at once."""
    (sender.folder / "few.yaml").write_text("version: 1\nname: few\nmodels: [{id: acme/tiny-bert, allow: [config.json]}]\npackages: [{requirement: acme-big}]\n")
    sender.command("sync", "few.yaml", "--json")
    assert sender.get("/acme/tiny-bert/resolve/main/model.safetensors").status == 200
    folder = tmp_path / "media"
    folder.mkdir()
    pinned = json.loads(sender.command("bundle", "export", "--pins", "few", "-o", str(folder / "few"), "--json").stdout)
    done = sender.command("bundle", "export", "--all", "-o", str(folder / "all"), "--volume", "200KiB", "--json")
    whole = json.loads(done.stdout)
    assert 0 < pinned["bytes"] < whole["bytes"]
    volumes = sorted(folder.glob("all.*"))
    assert len(volumes) > 3
    assert (whole["path"], whole["volumes"]) == (str(volumes[0]), list(map(str, volumes)))
    cards = enrolled(sender, tmp_path / "cards")
    verified = sender.command("bundle", "verify", str(folder / "all"), "--key", str(cards)).stdout.splitlines()
    alone = subprocess.run([sys.executable, "-I", str(Path(verify_bundle.__file__)), str(volumes[1]), "--key", str(cards / "hq.yaml")], capture_output=True, text=True, check=False)
    assert re.search(rf"statement sha256:{whole['statement']}, by telephone( [0-9]{{5}}){{4}}; bundle sha256:{whole['bundle']}$", verified[2])
    assert verified[2] in alone.stdout.splitlines()
    lab = MirrorProcess(tmp_path / "lab", {"listen": {"host": "127.0.0.1", "workers": 2}, "network": "offline", "trust": {"verify": [str(cards)]}})
    with running(lab) as mirror:
        here(mirror)
        targets = ["/acme/tiny-bert/resolve/main/config.json"] * 6
        assert {mirror.get(target).status for target in targets} == {404}
        assert take(mirror, folder / "few")[0] == 0
        assert {mirror.get(target).status for target in targets} == {200}
        code, took = take(mirror, volumes[2])
        assert (code, took["statement"], took["bundle"]) == (0, whole["statement"], whole["bundle"])
        assert mirror.get("/acme/tiny-bert/resolve/main/model.safetensors").status == 200


def test_nothing_of_a_bundle_that_does_not_hold_is_taken(sender, tmp_path):
    """Of an unknown sender, a revoked one, or with one byte changed in any part: exit 2, one sentence, no file, no row, no event."""
    export(sender, "sound.tar", "--name", "sound")
    cards = enrolled(sender, tmp_path / "cards")
    card = cards / "hq.yaml"
    lab = MirrorProcess(tmp_path / "lab", {"listen": {"host": "127.0.0.1", "port": 0}, "network": "offline", "trust": {"verify": [str(cards)]}}, ALLOW_ALL)
    with running(lab) as mirror:
        here(mirror)
        good, written = (sender.folder / "sound.tar").read_bytes(), card.read_text()
        with BundleReader(sender.folder / "sound.tar") as reader:
            part = max(reader.parts.values(), key=lambda part: part.size)
            place = good.index(reader.read(part))
        bad = tmp_path / "bad.tar"
        bad.write_bytes(good[: place + part.size - 1] + bytes([good[place + part.size - 1] ^ 1]) + good[place + part.size :])
        assert "is damaged" in refuse(mirror, bad)
        bad.write_bytes(good[: len(good) // 2])
        refuse(mirror, bad)
        card.write_text(written.replace("from: 2026-01-01", "from: 2026-01-01\nrevoked: 2026-01-02"))
        assert "revoked" in refuse(mirror, sender.folder / "sound.tar")
        card.write_text(card_text(Enrolled(dsse.key_id(OTHER.public_key()), OTHER.public_key(), "hq", "Headquarters", frozenset({"sender"}), BEGIN)))
        assert "nobody here has said to trust" in refuse(mirror, sender.folder / "sound.tar")
        assert mirror.get("/acme/tiny-bert/resolve/main/config.json").status == 404
        assert not any(event["kind"] in ("bundle", "refused") for event in mirror.events())
        assert list((mirror.folder / "data" / "incoming").glob("*")) == []


OTHER = Ed25519PrivateKey.generate()


def test_many_refusals_are_a_line_for_each_project_and_rule():
    """Twenty refusals are told one by one; twenty-one of one project by one rule are one line with their number, and another rule's is its own."""
    files = [Left("refused", f"pkg:huggingface/acme/big@abc?x=1#{at}.bin", "pickle", "No pickles.") for at in range(21)]
    assert len(list(told_shortly(files[:20]))) == 20
    other = Left("refused", "pkg:huggingface/acme/big@abc#LICENSE", "licence", "No licence.")
    assert list(told_shortly([*files, other])) == [
        "refused  pkg:huggingface/acme/big  21 files by pickle: No pickles.", "refused  pkg:huggingface/acme/big@abc#LICENSE  No licence.",
    ]  # fmt: skip
