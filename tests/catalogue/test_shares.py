"""Packs: dated shares and numbers of registers."""

from __future__ import annotations

import pytest

from mirror.core.errors import InputError
from mirror.lists.loading import load_catalogue


def test_dated_shares_and_register_numbers_are_read_and_checked(tmp_path):
    """Shares that follow one another may add up to more than 1, those of one day may not; numbers are folded; faults are told together."""
    pack = "version: 1\npublishers:\n  - {id: top, entity: Top, kind: company}\n  - {id: x, entity: X, kind: company, owners: %s, identifiers: %s}\n"
    file = tmp_path / "p.yaml"
    file.write_text(pack % ("[{id: top, share: 0.9, until: 2026-01-01}, {id: top, share: 0.8, from: 2026-01-01}]", "['LEI: 5493 00-AB']"))
    held = load_catalogue((str(file),)).by_id("x")
    assert [(one.since and one.since.year, one.until and one.until.year) for one in held.owners] == [(None, 2026), (2026, None)]
    assert held.identifiers == ("lei:549300ab",)
    file.write_text(pack % ("[{id: top, share: 0.9, from: 2026-01-02, until: 2026-01-02}, {id: top, share: 0.9}, {id: top, share: 0.2, from: 2025-01-01}]", "[nothing]"))
    with pytest.raises(InputError) as caught:
        load_catalogue((str(file),))
    said = str(caught.value)
    assert "owners[0].until: 2026-01-02 is not after 'from' 2026-01-02" in said
    assert "the shares add up to more than 1" in said
    assert "identifiers[0]: 'nothing' is not kind:value" in said
