"""The raw path on its way to one row of one table."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import Malformed
from mirror.reply.routing import Handling, find, normal_path, route, under


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?x=1&y", "/a/b", "x=1&y"),
        ("//datasets/acme/x//resolve", "/datasets/acme/x/resolve", ""),
        ("/a%2Fb/c%23d%3Fe", "/a%2Fb/c%23d%3Fe", ""),
        ("http://elsewhere.example/a/b?q", "/a/b", "q"),
        ("/a/..dots.txt", "/a/..dots.txt", ""),
        ("/a/back%5Cslash", "/a/back%5Cslash", ""),
    ],
)
def test_normal_path_keeps_what_was_sent(target: str, path: str, query: str) -> None:
    """Slashes are collapsed and the query is cut off; every escape stays as it came."""
    assert (path, query) == normal_path(target)


@pytest.mark.parametrize(
    "target",
    ["/a/../b", "/a/%2e%2E/b", "/a/.%2e", "/%2e", "/a%2F..%2Fb", "/a%00", "/a%0d%0aSet-Cookie:x", "/a%zz", "/a%", "*", "a/b", "/a\\b", "/a\x7f", "/a b", "/" + "a" * 9000],
)  # fmt: skip
def test_hostile_targets_are_malformed(target: str) -> None:
    """Dot segments in any spelling, control characters, broken escapes and endless paths are a clear 4xx."""
    with pytest.raises(Malformed) as caught:
        normal_path(target)

    assert 400 <= caught.value.status < 500


@given(st.text(max_size=200))
def test_normal_path_is_total_and_idempotent(text: str) -> None:
    """Any text gives a path that stays itself when read again, or `Malformed`; never anything else."""
    try:
        path, _ = normal_path(text)
    except Malformed:
        return

    assert (path, "") == normal_path(path)
    assert "//" not in path
    assert not {".", ".."} & set(re.split(r"/|%2[fF]", path))


def test_find_tells_a_wrong_method_from_a_wrong_path() -> None:
    """A row for another method gives the methods that exist; no row gives None."""

    async def handler(_: object) -> None: ...

    rows = [route("one", "GET HEAD", "/one", Handling.FACTS, handler), route("put", "PUT", "/one", Handling.WRITE, handler)]

    assert find(rows, "HEAD", "/one")[0].name == "one"
    assert find(rows, "POST", "/one") == {"GET", "HEAD", "PUT"}
    assert find(rows, "GET", "/two") is None
    assert find(rows, "GET", "/one/more") is None


def test_under_takes_whole_segments() -> None:
    """A mount is a whole segment, never a prefix of one."""
    assert under("/pypi", "/pypi/simple/") == "/simple/"
    assert under("/pypi", "/pypi") == "/"
    assert under("/pypi", "/pypixie/simple/") is None
    assert under("", "/x") == "/x"
