"""Keys of pseudonyms: one a period, apart from the ledger, gone when their time is over."""

from __future__ import annotations

import asyncio
import json
import stat
from datetime import timedelta

import pytest

from mirror.audit.examine import examine
from mirror.audit.keeping import Retention
from mirror.audit.ledger import SegmentLedger
from mirror.audit.retention import Terms
from mirror.core.errors import InputError
from mirror.reply.identify import Identification
from mirror.trust.pseudonyms import PseudonymKeys, pseudonym
from tests.audit.samples import NOW
from tests.audit.test_retention import HOME, House, MovingClock

YEAR = timedelta(days=365)


def test_another_key_each_period(tmp_path):
    """A key is used for its period, by every process alike; then another is, and only its folder's owner can read either."""
    keys, other = PseudonymKeys(tmp_path / "apart", YEAR), PseudonymKeys(tmp_path / "apart", YEAR)
    first = keys.current(NOW)
    assert other.current(NOW + timedelta(days=364)) == first and not keys.changed(NOW + timedelta(days=364))
    assert keys.changed(NOW + YEAR) and keys.key != first.key
    assert other.current(NOW + YEAR).key == keys.key
    known = keys.periods()
    assert [(one.number, one.until) for one in known] == [(1, NOW + YEAR), (2, None)]
    assert pseudonym(known[0].key, "10.8.0.9") != pseudonym(known[1].key, "10.8.0.9")
    assert not keys.changed(NOW)  # a clock that is set back finds the newest key in use
    for path in (tmp_path / "apart").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "apart").stat().st_mode) == 0o700


def test_what_is_no_key(tmp_path):
    """A file that is none is an error that names it: pseudonyms under a part of a key could be guessed."""
    keys = PseudonymKeys(tmp_path, YEAR)
    keys.current(NOW)
    (tmp_path / "key-0001").write_text(json.dumps({"number": 1, "since": NOW.isoformat(), "key": "00"}))
    with pytest.raises(InputError, match="key-0001"):
        keys.periods()


def test_as_before(tmp_path):
    """A pseudonym is made as the installation's own key made it: with that key it is the same."""
    who = Identification((), (), None, b"k" * 32)
    assert who._stands_for("10.8.0.9") == pseudonym(b"k" * 32, "10.8.0.9")


async def _expired(folder, days: float, held: bool = False):
    clock = MovingClock(days)
    ledger = SegmentLedger(folder / "ledger", clock, reserve=0)
    keys = PseudonymKeys(folder / "apart", YEAR)
    retention = Retention(ledger, clock, Terms(others=timedelta(days=1000), home=HOME), keys=keys)
    await ledger.start()
    keys.current(clock.now())
    if held:
        await retention.hold({"outcome": "added", "id": "H-1", "matter": "m", "by": "a", "reason": "r"})
    outcome = await retention.expire(sure=True)
    await ledger.close()
    return outcome.keys, [one.number for one in keys.periods()]


def test_destroyed_when_its_time_is_over(tmp_path):
    """A key is destroyed, and that recorded, once all that was recorded under it is older than the long term; not while a hold stands."""
    for folder, held in ((tmp_path / "a", False), (tmp_path / "b", True)):
        asyncio.run(_expired(folder, 0, held))
        assert asyncio.run(_expired(folder, 366)) == (0, [1, 2])
        assert asyncio.run(_expired(folder, 1300)) == (0, [1, 2, 3])
        assert asyncio.run(_expired(folder, 1367)) == ((0, [1, 2, 3]) if held else (1, [2, 3]))
        told = [record["detail"] for record in House(folder).records() if record["kind"] == "erased"]
        assert [one["number"] for one in told] == ([] if held else [1])
        assert examine(folder / "ledger").fault is None
