"""The parser of paths: one meaning for every spelling, and nothing but `Malformed` for what has none."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import Malformed
from mirror.core.nouns import Kind
from mirror.hubs.huggingface.paths import Repo, parse_path, parse_query, parse_repo, parse_revision

PARSERS = [parse_path, parse_revision, parse_query, lambda raw: parse_repo(raw, Kind.MODEL)]

segments = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/\\"), min_size=1, max_size=20
).filter(lambda text: text not in (".", ".."))
paths = st.lists(segments, min_size=1, max_size=5).map("/".join)


@given(st.text(max_size=60) | st.text("%2fF0.e/\\ \x00abc", max_size=30))
def test_nothing_but_malformed(raw: str) -> None:
    """Whatever text arrives, every parser gives a value or raises `Malformed`."""
    for parse in PARSERS:
        try:
            parse(raw)
        except Malformed:
            continue


@given(paths)
def test_paths_make_the_round_trip(path: str) -> None:
    """A path, escaped as clients do (slashes kept, or escaped as in tree URLs), comes back as itself."""
    assert parse_path(quote(path, safe="/")) == path
    assert parse_path(quote(path, safe="")) == path
    target = Repo(Kind.DATASET, "acme/x").file("resolve", "refs/pr/1", path)
    head = "/datasets/acme/x/resolve/refs%2Fpr%2F1/"
    assert target.startswith(head)
    assert parse_path(target.removeprefix(head)) == path


@given(paths)
def test_revisions_make_the_round_trip(revision: str) -> None:
    """A revision escaped into one segment comes back as itself."""
    assert parse_revision(quote(revision, safe="")) == revision


@given(paths, st.integers(0, 2**32))
def test_every_spelling_means_the_same(path: str, seed: int) -> None:
    """Escaping any characters that need not be escaped, in either case, changes nothing (P2)."""
    spelt = "".join(
        "".join(f"%{byte:02x}" if seed >> (index % 30) & 2 else f"%{byte:02X}" for byte in character.encode())
        if not character.isascii() or not character.isalnum() or seed >> (index % 32) & 1 else character
        for index, character in enumerate(path)
    )  # fmt: skip
    assert parse_path(spelt) == path


@pytest.mark.parametrize(
    "raw",
    ["a/../b", "a/%2e%2e/b", "%2E%2e", ".", "a/./b", "a//b", "a%2F%2Fb", "/a", "a/", "", "a%00b", "a%0ab", "a\\b", "%ff", "%c0%ae", "%zz", "a%", "a%1", "ü", "a b", "%C2%85"],
)  # fmt: skip
def test_hostile_paths(raw: str) -> None:
    """Dot segments in any spelling, empty segments, control characters, raw backslashes, broken or overlong UTF-8: malformed."""
    with pytest.raises(Malformed):
        parse_path(raw)


@pytest.mark.parametrize(
    "raw",
    ["a/b/c", "", "/", "a/", "/a", "acme%2Fx", "acme/x%2Fy", "..", "acme/..", "acme/a..b", "acme/x.", "-a/b", "api/models", "datasets/x", "Spaces/x", "a b/c", "ac\u00e9me/x", "%E2%84%AAx/y", "acme/x%00"],
)  # fmt: skip
def test_names_that_are_none(raw: str) -> None:
    """A repository's name is one or two ASCII parts; encoded slashes, dots and routes of the hub are not names."""
    with pytest.raises(Malformed):
        parse_repo(raw, Kind.MODEL)


def test_escaped_letters_in_a_name_are_the_letters() -> None:
    """`%61cme` is `acme` before anything is judged."""
    assert parse_repo("%61cme/Tiny%2DBert", Kind.MODEL) == Repo(Kind.MODEL, "acme/Tiny-Bert")


def test_a_query_is_verbatim() -> None:
    """Order, repetition and escapes of a query stay; what no query can hold is malformed."""
    assert parse_query("expand=b&expand[]=a&cursor=%3D%3d") == "expand=b&expand[]=a&cursor=%3D%3d"
    for bad in ("a b", "a%zz", "ü", "a\r\nb"):
        with pytest.raises(Malformed):
            parse_query(bad)
