"""Promises of the nouns that are not plain data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirror.core.nouns import Digest, Document, DocumentKey

NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(("age", "fresh"), [(0, True), (599, True), (600, False), (-599, True), (-600, False), (-86400 * 400, False)])
def test_a_page_from_the_future_is_no_fresher_than_one_from_the_past(age: int, fresh: bool) -> None:
    """After a clock that was a year ahead is set right, pages that it dated are asked for again instead of staying for a year."""
    document = Document(DocumentKey("pypi", "/simple/a/"), 200, (), b"", Digest("sha256", "0" * 64), NOW, timedelta(minutes=10))

    assert document.fresh(NOW + timedelta(seconds=age)) is fresh
