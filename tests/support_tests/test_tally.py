"""The sums at the end of `make torture`."""

from __future__ import annotations

from tests.support.tally import Row, page, rows

KILLS = Row("passed", "2026-11-22 10:00 UTC, commit 1234567, 2 cores", 90, {"kills": 300, "requests": 12_345})
STATES = Row("failed", "2026-11-22 11:00 UTC, commit 89abcde, 2 cores", 30, {"requests": 5})


def test_a_row_stays_until_its_test_runs_again_and_the_sums_are_of_all_rows():
    """A page is read back to the rows that it was made of; what one run replaces is in the sums, a failure in the head."""
    first = page({"tests/a.py::test_kill[1-300]": KILLS, "tests/b.py::test_states": KILLS})
    assert rows(first) == {"tests/a.py::test_kill[1-300]": KILLS, "tests/b.py::test_states": KILLS}
    second = page(rows(first) | {"tests/b.py::test_states": STATES})
    head = second.splitlines()[:2]
    assert head == ["# make torture: 2 tests, 2 min, 1 failed", "# altogether 300 kills, 12,350 requests"]
    assert rows(second)["tests/b.py::test_states"] == STATES
