"""Ranges and conditions, against the RFC's clauses and a naive model."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.http import (
    Conditions,
    Full,
    NotModified,
    Partial,
    PreconditionFailed,
    Unsatisfiable,
    cache_status,
    content_range,
    http_date,
    parse_content_range,
    parse_date,
    parse_range,
    select,
)
from mirror.core.nouns import Span

WHEN = datetime(2025, 3, 1, 12, 0, 0, 500, tzinfo=UTC)
DATE = "Sat, 01 Mar 2025 12:00:00 GMT"
BEFORE, AFTER = "Fri, 28 Feb 2025 12:00:00 GMT", "Sun, 02 Mar 2025 12:00:00 GMT"


def outcome(method="GET", etag='"e"', modified=WHEN, size=100, **fields):
    return select(method, Conditions(**fields), etag=etag, last_modified=modified, size=size)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-9", (Span(0, 10),)),
        ("bytes=90-200", (Span(90, 100),)),
        ("bytes=-10", (Span(90, 100),)),
        ("bytes=-1000", (Span(0, 100),)),
        ("bytes=99-", (Span(99, 100),)),
        ("BYTES=0-0", (Span(0, 1),)),
        ("bytes=0-9, 20-29 ,-1", (Span(0, 10), Span(20, 30), Span(99, 100))),
        ("bytes=50-59,0-9", (Span(50, 60), Span(0, 10))),
        ("bytes=0-9,5-19", (Span(0, 20),)),
        ("bytes=100-", ()),
        ("bytes=-0", ()),
        ("bytes=100-,200-300", ()),
        ("bytes=100-,5-5", (Span(5, 6),)),
        ("bytes=9-5", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("bytes=a-b", None),
        ("bytes=0-9;", None),
        ("bytes=--5", None),
        ("bytes=+1-5", None),
        ("bytes=\u0661-5", None),
        ("items=0-9", None),
        ("0-9", None),
        ("bytes=" + ",".join(f"{n}-{n}" for n in range(0, 99, 2)), None),
        ("bytes=0-,0-,0-,0-", None),
        ("bytes=0-" + "9" * 5000, None),
    ],
)
def test_range_values(value, expected):
    """Each form of RFC 9110 section 14.1.2, and what is ignored."""
    assert parse_range(value, 100) == expected


SPEC = st.one_of(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda t: f"{t[0]}-{t[1]}"),
    st.integers(0, 60).map(lambda n: f"{n}-"),
    st.integers(0, 60).map(lambda n: f"-{n}"),
)


@given(specs=st.lists(SPEC, min_size=1, max_size=6), size=st.integers(1, 50))
def test_range_against_a_naive_model(specs, size):
    """Whatever is asked, the spans hold exactly the bytes that the specs name, each once, none empty."""
    wanted = set()
    valid = True
    for spec in specs:
        first, last = spec.split("-")
        if not first:
            wanted.update(range(max(0, size - int(last)), size))
        elif last and int(last) < int(first):
            valid = False
        else:
            wanted.update(range(int(first), min(size, int(last) + 1 if last else size)))
    spans = parse_range("bytes=" + ",".join(specs), size)
    if spans is None:
        assert not valid or len(specs) > 2
        return
    assert valid
    found = [n for span in spans for n in range(span.start, span.stop)]
    assert sorted(found) == sorted(wanted)
    assert all(map(len, spans))


def test_order_of_preconditions():
    """RFC 9110 section 13.2.2: If-Match, If-Unmodified-Since, If-None-Match, If-Modified-Since, then Range."""
    assert outcome(if_match='"x"', if_none_match='"e"') == PreconditionFailed()
    assert outcome(if_match='"x", "e"', if_unmodified_since=BEFORE) == Full()
    assert outcome(if_match="*") == Full()
    assert outcome(if_match='W/"e"', etag='W/"e"') == PreconditionFailed()
    assert outcome(if_unmodified_since=BEFORE) == PreconditionFailed()
    assert outcome(if_unmodified_since=DATE) == Full()
    assert outcome(if_none_match='W/"e"', range="bytes=0-1") == NotModified()
    assert outcome(if_none_match="*", method="HEAD") == NotModified()
    assert outcome(if_none_match='"x"', if_modified_since=AFTER) == Full()
    assert outcome(if_modified_since=DATE) == NotModified()
    assert outcome(if_modified_since=BEFORE) == Full()
    assert outcome(if_modified_since="rubbish") == Full()
    assert outcome(if_none_match='"a,b"', etag='"a,b"') == NotModified()
    assert outcome(if_none_match="e") == Full()


def test_range_only_where_it_counts():
    """Ranges count for GET, with a known length, of a file that has bytes, of the version that If-Range names."""
    part = Partial((Span(0, 2),))
    assert outcome(range="bytes=0-1") == part
    assert outcome(range="bytes=0-1", method="HEAD") == Full()
    assert outcome(range="bytes=0-1", size=None) == Full()
    assert outcome(range="bytes=0-1", size=0) == Full()
    assert outcome(range="bytes=100-") == Unsatisfiable()
    assert outcome(range="bytes=0-1", if_range='"e"') == part
    assert outcome(range="bytes=0-1", if_range='"x"') == Full()
    assert outcome(range="bytes=0-1", if_range='W/"e"', etag='W/"e"') == Full()
    assert outcome(range="bytes=0-1", if_range=DATE) == part
    assert outcome(range="bytes=0-1", if_range=AFTER) == Full()
    assert outcome(range="bytes=0-1", if_range=DATE, modified=None) == Full()


def test_content_range():
    """A Content-Range is read as it is written, and nonsense is None."""
    assert parse_content_range(content_range(Span(5, 10), 100)) == (Span(5, 10), 100)
    assert parse_content_range("bytes 5-9/*") == (Span(5, 10), None)
    for value in ("bytes 9-5/100", "bytes 5-100/100", "bytes */100", "5-9/100", "bytes 5-9/-1", ""):
        assert parse_content_range(value) is None


def test_dates():
    """Dates are IMF-fixdate; what is none is None."""
    assert (http_date(WHEN), parse_date(DATE)) == (DATE, WHEN.replace(microsecond=0))
    assert parse_date("yesterday") is None


def test_cache_status():
    """A Cache-Status member names us, where the answer came from, and what is doubtful about it."""
    assert cache_status("hit", verified=True) == "entrepot; hit"
    assert cache_status("fwd=miss", verified=False, detail='a "b"\n') == (
        'entrepot; fwd=miss; unverified; detail="a \\"b\\"?"'
    )


@pytest.mark.timeout(20)
def test_entity_tag_list_is_linear():
    """A megabyte of almost-tags is read through (quadratic time would not get there within the test's limit)."""
    assert outcome(if_none_match=('"a' + " ," * 3) * 130_000 + '"') == Full()
    assert outcome(if_none_match=", " * 500_000 + "x") == Full()
    assert outcome(range="bytes=" + "0-0," * 250_000) == Full()
