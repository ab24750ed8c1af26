"""Audit packs of spans of which records were removed: the program checks that they might go, as `mirror ledger verify` does."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256

import pytest

from mirror.audit import verify_pack
from mirror.audit.pack import Sources, Wish, make_pack
from mirror.audit.signoff import SIGNATURE, signed_off
from mirror.core.canonical import canonical
from mirror.core.decision import EventKind
from mirror.trust.machine_key import MachineKey
from tests.audit.samples import NOW
from tests.audit.test_retention import House, _mixed, _recorded


def _packed(house, target, days):
    """A pack of everything until so many days later."""
    key = MachineKey(house.folder / "signing.key").current()
    sources = Sources(lambda digest: ("page", b""), lambda name, edition: None, key, "1.0")
    return make_pack(house.ledger, target, Wish(NOW - timedelta(days=9), NOW + timedelta(days=days)), sources, NOW)


def _faults(pack, capsys):
    """What is said against the records and their context; evidence was none of the ledger's."""
    report = verify_pack.Report()
    verify_pack.check(verify_pack.Pack(pack), [], report)
    lines = capsys.readouterr().err.splitlines()
    assert report.faults == len(lines)
    return [line for line in lines if not line.startswith("evidence")], report.notes


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    house = House(tmp_path_factory.mktemp("house"))
    asyncio.run(house.write(_mixed()))
    assert asyncio.run(house.expire(91)).records == 24
    asyncio.run(house.write([], 92))
    return house


@pytest.mark.parametrize("days", [1, 200])
def test_what_was_removed_is_checked(house, tmp_path, capsys, days):
    """Where the leave lies behind the span and where it lies in it, the pack holds, and says how many records are gone."""
    manifest = _packed(house, tmp_path / "pack", days)
    counts = next(record["seq"] for record in house.records() if record["kind"] == "counts")
    inside = manifest["records"]["first"] <= counts < manifest["records"]["first"] + manifest["records"]["count"]
    assert inside == (days == 200) and manifest["checkpoint"]["size"] > counts
    faults, notes = _faults(tmp_path / "pack", capsys)
    assert faults == []
    assert any(note.startswith("of 24 records only the leaf is left: what was sealed before") for note in notes)
    done = subprocess.run([sys.executable, "-I", "-S", str(tmp_path / "pack" / "verify_pack.py")], capture_output=True, text=True, check=False)
    assert "only the leaf is left" in done.stdout and not [line for line in done.stderr.splitlines() if line.startswith("records")], done.stderr


def test_without_the_leave_it_does_not_hold(house, tmp_path, capsys):
    """A pack from which the counts are left out, signed anew by the mirror's key, has a fault for each record that is gone."""
    _packed(house, tmp_path / "pack", 1)
    path = tmp_path / "pack" / "context.jsonl"
    rows = [line for line in path.read_bytes().splitlines(keepends=True) if '"kind":"counts"' not in json.loads(line)["record"]]
    path.write_bytes(b"".join(rows))
    _signed_anew(house, tmp_path / "pack", "context.jsonl")
    faults, _ = _faults(tmp_path / "pack", capsys)
    assert sum("is gone, and no record permits that" in line for line in faults) == 24


def _signed_anew(house, pack, name):
    manifest = json.loads((pack / "manifest.json").read_bytes())
    data = (pack / name).read_bytes()
    manifest["files"][name] = {"sha256": sha256(data).hexdigest(), "size": len(data)}
    text = canonical(manifest) + b"\n"
    (pack / "manifest.json").write_bytes(text)
    key = MachineKey(house.folder / "signing.key").current()
    (pack / SIGNATURE).write_bytes(signed_off(verify_pack.KIND, verify_pack.MANIFEST, text, key, NOW))


@pytest.mark.parametrize("case", ["of what is kept", "said twice", "too soon", "held"])
def test_leave_that_nobody_may_give_is_a_fault(tmp_path, capsys, case):
    """Classes of what is kept, a second opinion, and counts before the time are faults of the pack, as they are of the ledger."""
    house = House(tmp_path / "house")
    asyncio.run(house.write(_mixed()))
    records = house.records()
    window = next(record for record in records if record["kind"] == "classes")
    refused = next(record["seq"] for record in records if record["kind"] == "refused")
    last = records[-1]["seq"]
    kind, detail, said = {
        "of what is kept": (EventKind.CLASSES, {"since": last, "until": last + 1, "short": "01", "home": ["US"]}, f"calls record {last} short-lived, which it is not"),
        "said twice": (EventKind.CLASSES, {"since": refused, "until": refused + 1, "short": "01", "home": ["US"]}, "of which that was said before"),
        "too soon": (
            EventKind.COUNTS,
            {"allows": 90 * 86400, "removed": [{"classes": window["seq"], "removed": window["detail"]["short"]}], "rows": [], "records": 1, "requests": 1},
            "before their time",
        ),
        "held": (
            EventKind.COUNTS,
            {"allows": 90 * 86400, "removed": [], "rows": [{"artifact": "pkg:huggingface/acme/x", "publisher": "acme", "day": "2026-11-02"}], "records": 1, "requests": 1},
            "removes what the hold H-1 keeps",
        ),
    }[case]
    if case == "held":
        asyncio.run(_recorded(house, EventKind.HOLD, 1, lambda _: {"id": "H-1", "outcome": "added", "matter": "case", "publisher": ["acme"]}))
    asyncio.run(_recorded(house, kind, 1, lambda _: detail))
    _packed(house, tmp_path / "pack", 9)
    faults, _ = _faults(tmp_path / "pack", capsys)
    assert len(faults) == 1 and said in faults[0], faults
