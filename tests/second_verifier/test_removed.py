"""Both verifiers on ledgers of which records were removed: the same are sound, and what nobody permitted is a fault to both."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.audit.examine import examine
from mirror.audit.segments import segments
from mirror.core.decision import EventKind
from tests.audit.test_retention import House, _classes_of, _counts_of, _mixed, _recorded, _stub_out
from tests.second_verifier import second_verifier

STRIDE = 11


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> House:
    """Plain permissions, repeats, refusals and permissions that are kept, with their classes."""
    house = House(tmp_path_factory.mktemp("written"))
    asyncio.run(house.write(_mixed()))
    return house


@pytest.fixture(scope="module")
def expired(written: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The same, and after their time the plain permissions are stubs."""
    house = House(Path(shutil.copytree(written.folder, tmp_path_factory.mktemp("expired") / "house")))
    assert asyncio.run(house.expire(91)).records == 24
    return house


@pytest.fixture
def copies(tmp_path: Path) -> Callable[[House], House]:
    return lambda house: House(Path(shutil.copytree(house.folder, tmp_path / "house")))


def _theirs(house: House) -> str:
    try:
        second_verifier.verify(house.ledger, [], [])
    except second_verifier.Fault as fault:
        return str(fault)
    return ""


def test_they_agree_on_what_was_removed(written: House, expired: House) -> None:
    """Records, head, root, erased parts and removed records of a ledger before and after its retention are the same to both."""
    for house, removed in ((written, 0), (expired, 24)):
        found, again = examine(house.ledger), second_verifier.verify(house.ledger, [], [])
        assert found.fault is None and found.removed == again.removed == removed
        assert (found.head.count, found.head.leaf, found.erased) == (len(again.records), again.leaves[-1].hex(), again.erased)


def test_they_agree_on_bytes_of_what_is_left(expired: House, copies: Callable[[House], House]) -> None:
    """A changed bit in a segment with stubs, or in its personal parts, is a fault to both."""
    house = copies(expired)
    first = segments(house.ledger)[0]
    unseen = []
    for path in (first.path, first.personal):
        raw = path.read_bytes()
        with path.open("r+b", buffering=0) as file:
            for place in range(0, len(raw), STRIDE if path == first.personal else STRIDE * 13):
                os.pwrite(file.fileno(), bytes([raw[place] ^ 1 << place % 8]), place)
                if not house.fault() or not _theirs(house):
                    unseen.append((path.name, place, house.fault(), _theirs(house)))
                os.pwrite(file.fileno(), raw[place : place + 1], place)
    assert not unseen, unseen[:10]


@pytest.mark.parametrize("kind", ["refused", "allowed", "repeated", "started", "counts", "classes", "key"])
def test_they_agree_on_what_is_gone_without_leave(expired: House, copies: Callable[[House], House], kind: str) -> None:
    """Whatever is made a stub beyond what the records permit is a fault to both: also the leave itself."""
    house = copies(expired)
    sequences = [record["seq"] for record in house.records() if record["kind"] == kind]
    _stub_out(house, lambda record: record["seq"] == sequences[-1])
    assert house.fault() and _theirs(house)


def test_they_agree_on_a_personal_part_that_stayed(written: House, expired: House, copies: Callable[[House], House]) -> None:
    """A stub has no personal part: one that stayed is a fault to both."""
    house = copies(expired)
    before, after = segments(written.ledger)[0], segments(house.ledger)[0]
    after.personal.write_bytes(before.personal.read_bytes())
    assert house.fault() and _theirs(house)


def _more(records: list[dict[str, Any]]) -> dict[str, object]:
    found: dict[str, Any] = _counts_of(records)
    found["removed"] = [{**found["removed"][0], "removed": "ff" * (len(found["removed"][0]["removed"]) // 2)}]
    return found


def _held(records: list[dict[str, Any]]) -> dict[str, object]:
    rows = [{"artifact": "pkg:huggingface/acme/x", "publisher": "acme", "day": "2026-11-02", "groups": [], "country": "US", "events": 1, "requests": 1}]
    return {**_counts_of(records), "rows": rows}


@pytest.mark.parametrize(
    ("kind", "days", "detail"),
    [
        (EventKind.CLASSES, 1, lambda records: _classes_of(records, "refused")),
        (EventKind.CLASSES, 1, lambda records: {"since": len(records) - 1, "until": len(records), "short": "01", "home": ["US"]}),
        (EventKind.COUNTS, 10, _counts_of),
        (EventKind.COUNTS, 100, _more),
        (EventKind.COUNTS, 100, _held),
        (EventKind.HOLD, 1, lambda _: {"id": "H-2", "outcome": "lifted"}),
    ],
    ids=["said twice", "of what is kept", "too soon", "more than was called", "held", "no such hold"],
)
def test_they_agree_on_leave_that_nobody_may_give(
    written: House, copies: Callable[[House], House], kind: EventKind, days: float, detail: Callable[[list[dict[str, Any]]], dict[str, object]]
) -> None:
    """A second opinion, classes of a record that is kept, counts before the time, of what was not classed, and against a hold are faults to both."""
    house = copies(written)
    if detail is _held:
        asyncio.run(_recorded(house, EventKind.HOLD, 2, lambda _: {"id": "H-1", "outcome": "added", "matter": "case", "publisher": ["acme"]}))
        assert not house.fault() and not _theirs(house)
    asyncio.run(_recorded(house, kind, days, detail))
    assert house.fault() and _theirs(house)
