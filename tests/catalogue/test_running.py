"""The catalogue in a running mirror: repackagers, the signed pack, what is counted, and whom nobody knows."""

import json
import re
import time
from datetime import UTC, datetime

import pytest
import yaml

from mirror.core import dsse
from mirror.lists.signed import drafted
from tests.support.mirror import running_mirror
from tests.support.signers import Person
from tests.support.standin.hub import StandInHub, running_hub
from tests.support.standin.index import running_index

PUBLISHERS = """version: 1
publishers:
  - {id: acme, entity: Acme Labs Ltd, kind: company, confidence: A, handles: {huggingface: [acme]}, countries: [{code: "GB", role: headquarters, source: x, confidence: A}]}
  - {id: umbrella, entity: Umbrella Corp, kind: company, confidence: A, handles: {huggingface: [umbrella]}, countries: [{code: "SG", role: headquarters, source: x, confidence: A}]}
  - {id: repacker, entity: Re Packer, kind: company, role: repackager, confidence: A, handles: {huggingface: [repacker], pypi: [repacker]}, countries: [{code: "FR", role: headquarters, source: x, confidence: A}]}
"""
POLICY = """version: 1
defaults: {on_unknown: {origin: review}}
rules:
  - {id: origin, when: {origin: [SG]}, effect: deny}
  - {id: of-repackagers, when: {origin: [FR]}, effect: deny, legal: true}
"""
VENDOR = Person("vendor", "catalogue")


def pack(number, text):
    """A signed pack of this text."""
    made = drafted(text.encode(), "publishers", number, datetime.now(UTC).date())
    return dsse.written(dsse.signed(made.envelope, VENDOR.private)) + made.content


def add(hub, name, parent=None):
    """A model with one file, quantised from `parent`."""
    tags = [f"base_model:quantized:{parent}"] if parent else []
    hub.add_repo("models", name, {"config.json": b"{}"}, tags=tags, card={"base_model": parent} if parent else {})


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("catalogue")
    VENDOR.enrol(folder / "cards")
    (folder / "vendor.pack").write_bytes(pack(1, PUBLISHERS))
    with running_hub(StandInHub(), populated=False) as hub, running_index() as index:
        for owner in ("acme", "umbrella", "nobody-known"):
            add(hub, f"{owner}/base")
            add(hub, f"repacker/{owner}-GGUF", f"{owner}/base")
        add(hub, "repacker/orphan-GGUF")
        add(hub, "repacker/twice-GGUF", "repacker/umbrella-GGUF")
        index.add_release("repacked", "1.0")
        index.project("repacked", roles=[{"role": "Owner", "user": "repacker"}])
        index.add_release("stray", "1.0", author="Stray Systems", author_email="dev@stray.example", publisher={
            "kind": "GitHub", "repository": "stray-systems/stray", "workflow": "r.yml", "environment": None, "claims": None,
        })  # fmt: skip
        with running_mirror(
            folder, hub, index, POLICY, catalogue=["builtin"], catalogue_pack={"source": "vendor.pack"}, trust={"verify": ["cards"]},
        ) as running:  # fmt: skip
            follow(running, 1, 1)
            yield running


def follow(mirror, number, epoch):
    """Wait until the running server has taken pack `number` from its file by itself, and judges by a later epoch than `epoch`."""
    for _ in range(200):
        found = mirror.get("/-/health/ready").json()
        if (found["catalogue"]["pack"] or {}).get("number") == number and found["policy"]["epoch"] > epoch:
            return
        time.sleep(0.1)
    raise AssertionError((found, mirror.log_lines()[-10:]))


def decision(mirror, project):
    """The newest decision on a model's file."""
    found = [event["decision"] for event in mirror.events() if event.get("decision", {}).get("project", "").endswith(f"/{project}")]
    return found[-1]


@pytest.mark.parametrize(
    ("project", "status", "origin"),
    [
        ("repacker/acme-GGUF", 200, ["GB"]),
        ("repacker/umbrella-GGUF", 403, ["SG"]),
        ("repacker/twice-GGUF", 403, ["SG"]),
        ("repacker/nobody-known-GGUF", 403, None),
        ("repacker/orphan-GGUF", 403, None),
    ],
)
def test_the_origin_of_a_repackagers_model_is_its_lineages(mirror, project, status, origin):
    """Never FR, where the repackager sits: the parent's country, also over two conversions; unknown where the parent or its owner is."""
    reply = mirror.get(f"/{project}/resolve/main/config.json")
    assert reply.status == status, reply
    facts = decision(mirror, project)["facts"]
    assert (facts["publisher"]["value"], facts["origin"]["value"]) == ("repacker", origin)
    assert [hit["id"] for hit in decision(mirror, project)["rules"] if hit["id"] == "of-repackagers" and hit["effect"] == "deny"] == []


def wheel(mirror, project):
    """Ask for the one wheel of a project."""
    page = mirror.get(f"/pypi/simple/{project}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
    return mirror.get(re.sub(r"^http://[^/]+", "", page["files"][0]["url"]))


def test_a_repackaged_wheel_has_no_origin_of_its_own(mirror):
    """On a package index nothing tells what a re-uploader's wheel was made from: its origin is unknown, and held for review."""
    assert wheel(mirror, "repacked").status == 403
    facts = decision(mirror, "repacked")["facts"]
    assert (facts["publisher"]["value"], facts["origin"]["value"]) == ("repacker", None)


def counted(mirror, hub, word):
    """A value of the metric for known origins."""
    found = re.search(rf'mirror_permitted_origin_total{{hub="{hub}",origin="{word}"}} ([0-9.]+)', mirror.get("/-/metrics").body.decode())
    return float(found[1]) if found else 0.0


def test_unknown_publishers_are_listed_by_downloads_with_an_entry_to_paste(mirror, tmp_path):
    """Card, website, attested owner and an overlay that `publisher check` finds sound; what the metric counts is what was served."""
    mirror.set_policy("version: 1\nrules:\n  - {id: origin, when: {origin: [SG]}, effect: deny, on_unknown: allow}\n")
    known, unknown = counted(mirror, "huggingface", "known"), counted(mirror, "huggingface", "unknown")
    for _ in range(3):
        assert mirror.get("/nobody-known/base/resolve/main/config.json").status == 200
    assert mirror.get("/acme/base/resolve/main/config.json").status == 200
    assert wheel(mirror, "stray").status == 200
    assert counted(mirror, "huggingface", "known") == known + 1
    assert counted(mirror, "huggingface", "unknown") == unknown + 3
    assert counted(mirror, "pypi", "unknown") == 1
    mirror.stop()  # repeats are counted together within the minute, or now
    mirror.start()
    rows = [json.loads(line) for line in mirror.command("publisher", "unknown", "--since", "1d", "--json").stdout.splitlines()]
    by = {row["handle"]: row for row in rows}
    assert [row["handle"] for row in rows] == ["nobody-known", "stray"]
    assert [row["downloads"] for row in rows] == [3, 1]
    assert by["nobody-known"]["card"].endswith("/nobody-known/base")
    stray = by["stray"]
    assert (stray["website"], stray["attested"]) == ("https://stray.example", "github:stray-systems")
    assert stray["overlay"]["projects"] == {"pypi": ["stray"]}
    assert stray["overlay"]["handles"] == {"github": ["stray-systems"]}
    text = mirror.command("publisher", "unknown").stdout
    assert yaml.safe_load(text)["publishers"] == [row["overlay"] for row in rows]
    (tmp_path / "overlay.yaml").write_text(text)
    assert mirror.command("publisher", "check", str(tmp_path / "overlay.yaml")).stdout.startswith("sound: ")


def test_a_new_pack_comes_into_force_by_itself_and_diff_tells_whose_answer_changes(mirror):
    """The server takes a newer file without being told; of those asked for here the new answer is told beside the old one."""
    fresh = PUBLISHERS + '  - {id: somebody, entity: Somebody Ltd, kind: company, handles: {huggingface: [nobody-known]}, countries: [{code: "SG"}]}\n'
    epoch = mirror.get("/-/health/ready").json()["policy"]["epoch"]
    (mirror.folder / "vendor.pack").write_bytes(pack(2, fresh))
    follow(mirror, 2, epoch)
    assert "mirror_catalogue_alarm 0.0" in mirror.get("/-/metrics").body.decode()
    assert mirror.get("/nobody-known/base/resolve/main/config.json").status == 403
    rows = [json.loads(line) for line in mirror.command("catalogue", "diff", "--json").stdout.splitlines()]
    assert [(row["change"], row["id"]) for row in rows if row["change"] != "answer"] == [("added", "somebody")]
    answers = {row["subject"]: (row["was"], row["now"]["countries"]) for row in rows if row["change"] == "answer"}
    assert answers["huggingface:nobody-known"] == (None, ["SG"])
