"""What an import takes and leaves, by bundles that no exporter of ours would write: put together by hand, signed by a key that counts."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from hashlib import sha1
from pathlib import Path

import pytest

from mirror.bundle.contents import (
    EntryRow,
    EvidenceRow,
    GrantRow,
    HubRow,
    ListFile,
    ListRow,
    PageRow,
    Row,
    artifact_row,
    lines,
)
from mirror.bundle.layout import BundleWriter, Form
from mirror.bundle.oci import part_of
from mirror.bundle.receipt import ReceivedBook
from mirror.bundle.signed_time import newest_signed
from mirror.bundle.statement import Statement, Withdrawn, payload, sign
from mirror.core.nouns import Artifact, Kind, Project
from mirror.lists.editions import EditionStore
from tests.bundle.carried import CONTENTS, CREATED, KEY, OCTETS
from tests.support.mirror import MirrorProcess
from tests.support.signers import Person

COMMIT = "c" * 40
HUB = HubRow("theirs", "huggingface", "https://hub.example")
NOW = 1_795_348_800_000_000  # CREATED in microseconds


def repository(name: str, **files: bytes) -> tuple[list[Row], dict[str, bytes]]:
    """Rows and bytes of one public repository at a commit."""
    project = Project("huggingface", Kind.MODEL, name, "theirs", of(name.encode())[:24])
    siblings = [{"rfilename": path, "blobId": sha1(data).hexdigest(), "lfs": {"sha256": of(data), "size": len(data)}} for path, data in files.items()]
    body = json.dumps({"_id": project.hub_id, "id": name, "sha": COMMIT, "private": False, "gated": False, "disabled": False, "siblings": siblings}).encode()
    target, about = f"/api/models/{name}/revision/{COMMIT}?blobs=true", str(project)
    page = PageRow("theirs", target, "", "", 200, (("content-type", "application/json"), ("x-repo-commit", COMMIT)), of(body), len(body), NOW, None, about)
    entries = [
        EntryRow(artifact_row(Artifact(project, COMMIT, path)), f"sha256:{of(data)}", len(data), (("etag", f'"{of(data)}"'), ("x-repo-commit", COMMIT)), NOW, f"sha256:{of(data)}", "")
        for path, data in files.items()
    ]
    return [page, *entries], {f"{name}/{path}": data for path, data in files.items()} | {f"{name}/page": body}


def of(data: bytes) -> str:
    return part_of(data, OCTETS, "").digest.hex


def bundle(path: Path, rows: list[Row], parts: dict[str, bytes], **changed) -> Path:
    with BundleWriter(path, Form.TAR) as writer:
        contents = writer.add_bytes(CONTENTS, "contents.jsonl", lines([HUB, *rows]))
        for title, data in parts.items():
            writer.add_bytes(OCTETS, title, data)
        stated = replace(Statement("lab", 1, CREATED, "hq.example", contents, writer.seal()), **changed)
        writer.finish(sign(payload(stated), [KEY]), created=stated.created)
    return path


POLICY = """version: 1
rules:
  - {id: nowhere, when: {file: ["*.bin"]}, effect: deny}
  - {id: not-for-guests, for: {not_groups: [staff]}, when: {file: ["*.onnx"]}, effect: deny}
"""
STATED = Statement("lab", 1, CREATED, "hq.example", part_of(b"", CONTENTS, "contents.jsonl"), ())
OWN, THEIRS = "name\nInitech Trading\n", b"name\nUmbrella Works Ltd\n"
LISTS = {
    "house": {"loader": "csv", "source": "https://lists.example/house.csv", "guards": {"max_age": "2d"}},
    "own": {"loader": "csv", "source": "own.csv"},
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A laboratory that serves, and has taken in one bundle before: with a list that says it was current a year after the bundle was signed."""
    folder = tmp_path_factory.mktemp("held") / "lab"
    card = Person("hq", "sender", key=KEY).enrol(folder.parent / "cards")
    config = {
        "network": "offline", "trust": {"verify": [str(card.parent)]}, "lists": LISTS, "listen": {"host": "127.0.0.1", "port": 0},
        "clients": {"groups": {"staff": {"subnets": ["127.0.0.0/8"]}}}, "store": {"min_free": "1MiB", "quota": "1MiB"},
    }  # fmt: skip
    made = MirrorProcess(folder, config, POLICY)
    (folder / "own.csv").write_text(OWN)
    (folder / "mirror.yaml").write_text(json.dumps(made.config))
    ahead = NOW + 365 * 86400 * 1_000_000
    lists = [ListRow(name, "csv", "1", 1, (ListFile(f"{name}.csv", of(THEIRS), len(THEIRS)),), ahead) for name in LISTS]
    made.lists = took(made, bundle(folder.parent / "lists.tar", lists, {"lists/house.csv": THEIRS}, name="lists"))
    made.start()
    yield made
    made.stop()


def took(lab: MirrorProcess, path: Path, *more: str) -> dict:
    done = lab.command("bundle", "import", str(path), "--json", *more, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


def refused(lab: MirrorProcess, path: Path) -> str:
    done = lab.command("bundle", "import", str(path), check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert ReceivedBook(lab.folder / "data", replace(STATED, name=path.stem)).last == 0
    return done.stderr


def test_a_list_is_no_newer_than_the_bundle_that_brings_it(lab):
    """What a sender says of the time after it signed counts for nothing; a list that the receiver keeps in a file of its own stays as it is."""
    lists = EditionStore(lab.folder / "data" / "lists")
    assert lists.standing("house").confirmed_at == CREATED
    [kept] = (lab.folder / "data" / "lists" / "own").glob("*/manifest.json")
    assert of(OWN.encode()) in kept.read_text()
    assert newest_signed(lab.folder / "data") == CREATED


def test_what_somebody_here_may_have_is_taken(lab, tmp_path):
    """A file that is denied to some is taken and judged again when it is asked for; one that is denied to everybody stays out, by its rule."""
    rows, parts = repository("acme/tiny", **{"a.json": b"{}", "b.bin": b"binary", "c.onnx": b"graph"})
    told = took(lab, bundle(tmp_path / "policy.tar", rows, parts, name="policy"))
    assert (told["files"], [(one["artifact"].rpartition("#")[2], one["rule"]) for one in told["refused"]]) == (2, [("b.bin", "nowhere")])
    asked = {name: lab.get(f"/acme/tiny/resolve/{COMMIT}/{name}") for name in ("a.json", "b.bin", "c.onnx")}
    assert [one.status for one in asked.values()] == [200, 403, 200]


def test_every_part_is_verified_whether_it_is_wanted_or_not(lab, tmp_path):
    """A damaged part that nothing here needs, evidence of how the sender judged, keeps the whole bundle out."""
    rows, parts = repository("acme/sound", **{"a.json": b"[1]"})
    evidence = b'{"rules": "those of the sender"}'
    path = bundle(tmp_path / "damaged.tar", [*rows, EvidenceRow("policy", of(evidence), len(evidence))], {**parts, "evidence/policy.json": evidence}, name="damaged")
    path.write_bytes(path.read_bytes().replace(evidence, evidence.replace(b"sender", b"SENDER")))
    assert "evidence/policy.json" in (said := refused(lab, path)) and "is damaged" in said
    assert lab.get(f"/acme/sound/resolve/{COMMIT}/a.json").status == 404


def test_rows_and_parts_agree(lab, tmp_path):
    """A row that gives another size than its bytes have, and one whose bytes are neither in the bundle nor here, keep the bundle out by its digest."""
    rows, parts = repository("acme/odd", **{"a.json": b"[2]"})
    wrong = [replace(row, size=4) if isinstance(row, EntryRow) else row for row in rows]
    assert f"say that sha256:{of(b'[2]')} has 4 bytes, and it has 3" in refused(lab, bundle(tmp_path / "odd.tar", wrong, parts, name="odd"))
    del parts["acme/odd/a.json"]
    assert f"needs what is not here: sha256:{of(b'[2]')}" in refused(lab, bundle(tmp_path / "lacking.tar", rows, parts, name="lacking"))
    listed = [*rows, EvidenceRow("policy", of(b"x"), 1), ListRow("house", "csv", "2", 1, (ListFile("house.csv", of(b"y"), 1),), None)]
    assert f"sha256:{of(b'y')}" in refused(lab, bundle(tmp_path / "listed.tar", listed, parts, name="listed"))


def test_a_quota_is_kept_to(lab, tmp_path):
    """A bundle whose files do not fit beside what is here is refused before anything is copied."""
    rows, parts = repository("acme/large", **{"a.safetensors": bytes(1024 * 1024 + 1)})
    assert "store.quota leaves" in refused(lab, bundle(tmp_path / "quota.tar", rows, parts, name="quota"))
    assert not list((lab.folder / "data" / "incoming").glob("*"))


def test_a_dry_run_takes_nothing_back(lab, tmp_path):
    """`--dry-run` of a recall says what would be withdrawn, and withdraws nothing; in earnest it is in force once, whoever imports it again."""
    path = bundle(tmp_path / "recall.tar", [], {}, name="recall", purpose="recall", withdrawn=(Withdrawn("acme/else", "it was withdrawn"),))
    folder = lab.folder / "data" / "bundles" / "recalled"
    assert took(lab, path, "--dry-run")["recalled"] == ["acme/else"]
    assert not list(folder.glob("*"))
    assert took(lab, path)["recalled"] == ["acme/else"]
    [one] = folder.glob("*")
    before = one.read_bytes()
    assert took(lab, path, "--allow-rollback")["recalled"] == ["acme/else"]
    assert [one.read_bytes() for one in folder.glob("*")] == [before]


def test_a_right_lasts_with_what_it_is_of(lab, tmp_path):
    """A right to a repository of which nothing was taken is not taken either; a refusal is, whatever comes with it."""
    rows, parts = repository("acme/denied", **{"b.bin": b"another binary"})
    project = next(row.artifact for row in rows if isinstance(row, EntryRow))
    rights = [
        GrantRow(replace(project, revision="", path=""), credential, allowed, False, NOW, 0 if allowed else 403, "" if allowed else "GatedRepo", "", "bundle")
        for credential, allowed in (("service", True), ("", False))
    ]
    assert took(lab, bundle(tmp_path / "rights.tar", [*rows, *rights], parts, name="rights"))["files"] == 0
    with sqlite3.connect(lab.folder / "data" / "index.sqlite") as index:
        found = index.execute("SELECT credential, allowed FROM grants").fetchall()
    assert found == [("", 0)]
