"""A look back counts what retention has removed, once."""

from __future__ import annotations

import asyncio
import shutil
from datetime import UTC, datetime

from mirror.lists.loading import load_catalogue
from mirror.policy.lineage import Lineage
from mirror.watch.lookback import look_back
from tests.audit.test_retention import House, _mixed

CATALOGUE = "version: 1\npublishers:\n  - {id: acme, entity: Acme Labs Ltd, kind: company, handles: {huggingface: [acme]}}\n"


def test_counts_are_looked_back_at(tmp_path):
    """Requests by project, group and country are the same before and after a removal, also where it was announced and not yet carried out."""
    (tmp_path / "catalogue.yaml").write_text(CATALOGUE)
    catalogue = load_catalogue([tmp_path / "catalogue.yaml"])
    house = House(tmp_path / "house")
    asyncio.run(house.write(_mixed()))

    def told(since: datetime | None = None):
        found = look_back(house.ledger, catalogue.by_id("acme"), catalogue, Lineage([]), since=since, now=datetime(2027, 6, 1, tzinfo=UTC))
        return found.requests, {(row.project, row.group, row.country): row.requests for row in found.rows}

    before = told()
    assert before[0] == 53
    shutil.copytree(house.ledger, tmp_path / "kept")
    assert asyncio.run(house.expire(91)).records == 24
    assert told() == before
    assert told(datetime(2026, 11, 23, tzinfo=UTC))[0] == 0
    first = sorted(house.ledger.glob("segment-*"))[0]
    shutil.copy(tmp_path / "kept" / first.name, first)  # as a power cut after the counts leaves it
    (house.ledger / "retained").unlink()
    assert told() == before
