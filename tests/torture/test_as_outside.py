"""Every route in every combination of kind, revision and form, over a data set of 1,500 files: a laboratory answers as outside."""

from __future__ import annotations

import pytest

from tests.bundle.as_outside import everything, two_mirrors

pytestmark = pytest.mark.torture


def test_everything_is_answered_as_outside(tmp_path, record_property) -> None:
    """What `tests/bundle/test_as_outside.py` asks for a few of each kind holds for all of them, and over many pages."""
    with two_mirrors(tmp_path, rows=1500) as pair:
        asked = list(everything(pair.hub, pair.index, whole=True))
        record_property("tried", {"requests to both mirrors": len(asked)})
        wrong = pair.differing(asked)
    assert not wrong, f"{len(wrong)}:\n" + "\n".join(wrong)
