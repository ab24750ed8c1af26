"""Every old decision is explained from ledger and evidence alone: caches deleted, network gone, policy, lists and catalogue replaced."""

from __future__ import annotations

import http.client
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.cli.test_approvals import Staff
from tests.support.mirror import MirrorProcess, upstream_config
from tests.support.standin.hub import StandInHub, running_hub
from tests.support.standin.index import StandInIndex, running_index

pytestmark = pytest.mark.acceptance

FILE = "/resolve/main/config.json"
GROUPS = {
    "contract": {"subnets": ["127.0.0.2/32"], "country": "US", "jurisdiction": ["US"], "entity": "Acme Inc"}, "abroad": {"subnets": ["127.0.0.3/32"], "country": "BR"},
    "elsewhere": {"subnets": ["127.0.0.4/32"]},
}
POLICY = """version: 1
defaults: {on_unknown: {origin: allow, client_country: deny, license: allow, lineage: allow, publisher: allow}}
sets: {allied: [US, GB, EU]}
rules:
  - {id: origin-cn, when: {origin: [CN]}, for: {groups: [contract]}, effect: deny, legal: true, basis: "house policy 12", suggest: [acme/fine]}
  - {id: pub, when: {publisher: [soylent]}, effect: deny, lineage: inherit}
  - {id: ancestors, when: {ancestor: {any: ["weyland/*"], relations: [finetune], min_confidence: 0.6}}, effect: deny}
  - {id: listed, when: {list_match: {lists: [house], hit: 0.92, review: 0.80}}, effect: deny, legal: true, basis: "house list"}
  - {id: licence, when: {license: [cc-by-nc-4.0]}, effect: warn}
  - {id: pickle, when: {file: ["*.pkl"]}, effect: deny}
  - {id: look, when: {artifact: ["hooli/*"]}, effect: review}
  - {id: weights-abroad, when: {kind: weights, client.country: {not_in: [allied]}}, effect: deny, legal: true, basis: "law"}
  - {id: blocked-there, when: {upstream.blocks_client: true}, effect: deny, on_unknown: allow, legal: true, basis: "the hub's word"}
  - {id: names, when: {artifact: ["pkg:pypi/evil-*", "pkg:huggingface/initech/bad*"]}, effect: deny}
  - {id: cool-off, when: {ecosystem: pypi, age_days: {lt: 7}}, effect: quarantine}
  - {id: holed, when: {vulnerability: ["CVE-2026-*"]}, effect: deny, on_unknown: allow}
  - {id: by-network, when: {artifact: ["acme/*"]}, for: {networks: [127.0.0.4/32]}, effect: review}
  - {id: trial, when: {artifact: ["acme/*"]}, effect: deny, mode: audit}
exceptions:
  - {id: EX-1, rule: names, scope: {artifact: "pkg:huggingface/initech/bad-but-ours@*", groups: [contract]}, reason: "ticket 4411", requested_by: u1, approved_by: [u2], expires: 2036-01-01}
"""
PUBLISHERS = """version: 1
publishers:
  - {id: acme, entity: Acme Labs Ltd, kind: company, handles: {huggingface: [acme]}, countries: [{code: GB, role: headquarters, source: "https://acme.example", confidence: A}]}
  - {id: globex, entity: Globex Group, kind: company, handles: {huggingface: [globex]}, countries: [{code: CN, role: headquarters, source: "https://globex.example", confidence: A}]}
  - {id: soylent, entity: Soylent Foods, kind: company, handles: {huggingface: [soylent]}}
  - {id: umbrella, entity: Umbrella Corporation, kind: company, handles: {huggingface: [umbrella]}}
  - {id: weak, entity: Globex Friends, kind: company, handles: {huggingface: [weak]}, countries: [{code: CN, role: headquarters, source: "https://weak.example", confidence: D}]}
"""
#: Another world altogether: what old decisions must not be explained by.
OTHER_PUBLISHERS = PUBLISHERS.replace("CN", "GB").replace("soylent", "weyland").replace("Umbrella Corporation", "Harmless Gardening")
OTHER_POLICY = "version: 1\nrules: [{id: nothing-at-all, when: {artifact: '*'}, effect: deny}]\n"


def hub_of_many() -> StandInHub:
    hub = StandInHub()
    plain = {"config.json": b"{}"}
    for name in ("acme/fine", "globex/solid", "soylent/green", "umbrella/x", "wayne/umbrella-fan", "hooli/one", "hooli/two", "initech/bad", "initech/bad-but-ours", "weak/y", "acme/emergency"):
        hub.add_repo("models", name, plain, {"model.safetensors": b"w" * 5000})
    for name, parent in (("acme/tune", "globex/solid"), ("acme/green-tune", "soylent/green"), ("acme/weyland-tune", "weyland/base"), ("acme/deep", "acme/tune")):
        hub.add_repo("models", name, plain, {"model.safetensors": b"w" * 5000}, tags=[f"base_model:finetune:{parent}"], card={"base_model": parent})
    hub.add_repo("models", "weyland/base", plain)
    hub.add_repo("models", "acme/nc", plain, card={"license": "cc-by-nc-4.0"}, tags=["license:cc-by-nc-4.0"])
    hub.add_repo("models", "acme/mixed", plain | {"old.pkl": b"\x80\x04."})
    hub.add_repo("datasets", "acme/rows", plain)
    hub.add_repo("models", "acme/withheld", plain, {"model.safetensors": b"w" * 5000}, region_block=["*"])
    return hub


def index_of_some() -> StandInIndex:
    index = StandInIndex()
    for name in ("tidy", "evil-thing", "holed"):
        index.add_release(name, "1.0")
    index.add_release("fresh", "1.0", upload_time=datetime.now(UTC))
    index.project("holed", vulnerabilities=[{"id": "PYSEC-2026-7", "aliases": ["CVE-2026-0007"], "fixed_in": ["1.1"], "withdrawn": None}])
    return index


class Life:
    """A mirror that has answered all sorts of requests."""

    def __init__(self, staff: Staff) -> None:
        self.staff, self.mirror = staff, staff.mirror

    def ask(self, target: str, source: str = "127.0.0.1") -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.mirror.port, timeout=30, source_address=(source, 0))
        connection.request("GET", target, headers={"Accept": "application/vnd.pypi.simple.v1+json, */*"})
        answer = connection.getresponse()
        answer.read()
        return answer.status

    def wheel(self, name: str) -> int:
        page = self.mirror.get(f"/pypi/simple/{name}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
        return self.ask("/" + page["files"][0]["url"].split("/", 3)[3])


def live(life: Life) -> None:
    """Requests of every kind, and what people do in between."""
    names = ("acme/fine", "globex/solid", "soylent/green", "umbrella/x", "wayne/umbrella-fan", "hooli/one", "initech/bad", "initech/bad-but-ours", "weak/y", "acme/tune", "acme/green-tune", "acme/weyland-tune", "acme/deep", "acme/nc")
    for name in names:
        for source in ("127.0.0.1", "127.0.0.2"):
            life.ask(f"/{name}{FILE}", source)
    for source in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
        life.ask("/acme/fine/resolve/main/model.safetensors", source)
    for target in ("/acme/mixed/resolve/main/old.pkl", f"/datasets/acme/rows{FILE}", "/api/models/acme/mixed", "/api/models/acme/mixed/tree/main", f"/acme/withheld{FILE}"):
        life.ask(target)
    for name in ("tidy", "evil-thing", "holed", "fresh"):
        life.wheel(name)
    # A waiver, a release, an emergency deny and a reviewer's finding come into force, and are asked for before and after.
    staff = life.staff
    asked = staff.json("waiver", "request", life.mirror.get(f"/soylent/green{FILE}").headers["X-Mirror-Decision"], "--reason", "ticket 1", "--by", "dan")
    staff.run("waiver", "approve", asked["id"], *staff.key("alice"))
    staff.until("soylent/green", 200)
    staff.json("review", "release", life.mirror.get(f"/hooli/one{FILE}").headers["X-Mirror-Decision"], "--reason", "read", *staff.key("alice"))
    staff.until("hooli/one", 200)
    staff.json("policy", "deny", "acme/emergency", "--reason", "an order came in", *staff.key("alice"))
    staff.until("acme/emergency", 403)
    entry = next(row for row in map(json.loads, staff.run("screen", "huggingface:umbrella", "--json", check=False).stdout.splitlines()))["entry"]
    staff.run("screen", "huggingface:umbrella", "--list", "house", "--entry", entry, "--verdict", "false_match", "--by", "ann", "--reason", "another one")
    staff.until("umbrella/x", 200)
    life.mirror.set_policy(POLICY.replace("effect: warn", "effect: review"))
    for name in ("acme/nc", "globex/solid", "acme/fine"):
        life.ask(f"/{name}{FILE}", "127.0.0.2")


@pytest.fixture(scope="module")
def remains(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MirrorProcess]:
    """What is left of the installation: ledger and evidence, under a configuration with other rules, lists and publishers. No hub, no index."""
    folder = tmp_path_factory.mktemp("old")
    (folder / "publishers.yaml").write_text(PUBLISHERS)
    (folder / "house.csv").write_text("id,name\nA-1,Umbrella Corp\nB-2,Wayne Enterprises\n")
    lists = {"house": {"loader": "csv", "source": "house.csv", "direction": "both", "meaning": "blocked-party"}}
    with running_hub(hub_of_many(), populated=False) as hub, running_index(index_of_some()) as index:
        config = {"trust": {"verify": ["cards"]}, "catalogue": ["publishers.yaml"], "lists": lists, "clients": {"groups": GROUPS}}
        mirror = MirrorProcess(folder, {**upstream_config(hub, index), **config}, POLICY)
        staff = Staff(mirror)
        (folder / "cards").mkdir()
        (folder / "mirror.yaml").write_text(json.dumps(mirror.config))
        staff.run("key", "new", "alice", "--role", "approver", "--role", "reviewer", "--passphrase-file", str(folder / "pass"), "--out", str(folder / "keys"))
        for card in (folder / "keys").glob("*.yaml"):
            card.rename(folder / "cards" / card.name)
        mirror.start()
        live(Life(staff))
        mirror.command("audit", "pack", "--from", "1d", "--to", "2100-01-01", "-o", str(folder / "pack.tar"))
        assert mirror.stop() == 0
    for path in [*(folder / "data").iterdir(), folder / "cards", folder / "keys", folder / "house.csv"]:
        if path.name not in ("ledger", "evidence"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    (folder / "publishers.yaml").write_text(OTHER_PUBLISHERS)
    (folder / "policy.yaml").write_text(OTHER_POLICY)
    (folder / "house.csv").write_text("id,name\nZ-9,Acme Labs\n")
    (folder / "mirror.yaml").write_text(json.dumps({"data": "data", "policy": {"path": "policy.yaml"}, "catalogue": ["publishers.yaml"], "lists": lists, "network": "offline"}))
    yield mirror


def records(mirror: MirrorProcess) -> list[dict[str, Any]]:
    return [event for event in mirror.events() if "decision" in event]


def test_decisions_of_every_kind_were_taken(remains: MirrorProcess) -> None:
    """The ledger that the other tests read has what they are about: each effect, each rule, every kind of fact and release."""
    found = records(remains)
    assert {one["kind"] for one in found} == {"allowed", "refused", "held", "steered"}
    assert {one["decision"]["effect"] for one in found} == {"allow", "warn", "review", "quarantine", "deny"}
    rules = {rule["id"] for one in found for rule in one["decision"]["rules"]}
    wanted = {"origin-cn", "pub", "ancestors", "listed", "licence", "pickle", "look", "weights-abroad", "blocked-there", "names", "cool-off", "holed", "by-network", "trial"}
    assert wanted <= rules, wanted - rules
    hits = [rule for one in found for rule in one["decision"]["rules"]]
    exceptions = {rule["exception"].partition("-")[0] for rule in hits if rule.get("exception")}
    assert {"EX", "W", "R"} <= exceptions
    assert any(rule["id"].startswith("emergency-") for rule in hits)
    assert {rule["mode"] for rule in hits} == {"enforce", "audit"}
    assert {match.get("finding") for one in found for match in one["decision"]["matches"]} == {None, "false_match"}
    assert {one["actor"]["country"] for one in found} == {None, "US", "BR"}
    assert any(len(one["decision"]["lineage"]) > 1 for one in found)


def test_each_is_explained_and_worked_out_to_the_same(remains: MirrorProcess) -> None:
    """`policy explain DECISION` gives every one of them, recomputed to the same result, by rules that the configuration no longer has."""
    done = remains.command("policy", "replay", "--verify", "--json", check=False)
    summary = [json.loads(line) for line in done.stdout.splitlines()][-1]
    assert (done.returncode, summary["different"], summary["not_recomputed"]) == (0, 0, 0), done.stdout
    found = records(remains)
    assert summary["same"] == len(found) > 45
    for one in found[:: max(1, len(found) // 12)]:
        stated = one["decision"]
        done = remains.command("policy", "explain", stated["id"], "--json", check=False)
        told = json.loads(done.stdout)
        assert told["recomputed"] == {"same": True, "missing": "", "notes": [], "deviations": []}, told["recomputed"]
        assert done.returncode == (0 if stated["effect"] in ("allow", "warn") else 1)
        assert {rule["id"] for rule in stated["rules"]} <= {row["id"] for row in told["trace"]}
        assert "nothing-at-all" not in done.stdout


def test_what_the_archive_loses_is_named(remains: MirrorProcess) -> None:
    """`ledger verify` finds the archive whole; without one of its files it names that and a record which cites it, and exits 1."""
    assert remains.command("ledger", "verify").returncode == 0
    book = records(remains)[-1]["decision"]["rulebook"]
    path = remains.folder / "data" / "evidence" / book[:2] / book
    kept = path.read_bytes()
    path.unlink()
    try:
        done = remains.command("ledger", "verify", check=False)
        assert done.returncode == 1
        assert f"evidence/{book[:2]}/{book}: cited by record " in done.stderr
    finally:
        path.write_bytes(kept)


def test_a_pack_made_beside_the_running_mirror_holds(remains: MirrorProcess) -> None:
    """Made while the mirror ran, which signed for the last records first, a pack of all this holds by its own program, and tells of what people signed."""
    program, pack = remains.folder / "verify_pack.py", remains.folder / "pack.tar"
    with tarfile.open(pack) as tar:
        files = {one.name: file.read() for one in tar if (file := tar.extractfile(one)) is not None}
    program.write_bytes(files["verify_pack.py"])
    key = next(event["detail"]["key"] for event in remains.events() if event["kind"] == "key")
    done = subprocess.run([sys.executable, "-I", "-S", str(program), str(pack), "--key", key], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done
    inside = [json.loads(line)["seq"] for line in files["records.jsonl"].splitlines()]
    assert inside == list(range(len(inside)))
    assert inside[-1] >= records(remains)[-1]["seq"]
    timeline = json.loads(files["timeline.json"])
    assert [(row["kind"], row["outcome"]) for row in timeline["statements"]] == [("waiver", "requested"), ("waiver", "approved"), ("review", "released"), ("emergency", "denied")]
    assert [row["activation"] for row in timeline["policies"]] == [None] * len(timeline["policies"])
    assert any(name.startswith("waivers/") for row in timeline["policies"] for name in row["files"])
    assert b"127.0.0.2" not in b"".join(data for name, data in files.items() if not name.startswith("evidence/"))


def test_statements_of_people_are_in_the_archive(remains: MirrorProcess) -> None:
    """The signed waiver, release and emergency deny lie in the evidence, although the folder in which they were signed is gone."""
    cited = [event["detail"]["envelope"] for event in remains.events() if event["kind"] in ("waiver", "review", "emergency")]
    assert len(cited) >= 3
    assert all((remains.folder / "data" / "evidence" / one[:2] / one).exists() for one in cited)
