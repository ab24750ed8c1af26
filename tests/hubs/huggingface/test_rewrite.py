"""What leaves the hub's pages: every trace of Xet, and every link that leads past the mirror."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.hubs.huggingface.rewrite import paging_links, without_xet

HUB = ("https://huggingface.co",)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.sampled_from(["xetHash", "xetEnabled", "xet", "xet_hash", "path", "oid", "lfs"]) | st.text(max_size=5), inner, max_size=4),
)


@given(values)
def test_no_trace_of_xet_at_any_depth(value) -> None:
    """No key of the Xet family is left anywhere, and a value without one is unchanged (trap 2)."""
    cleaned = without_xet(value)
    keys: list[str] = []
    json.loads(json.dumps(cleaned), object_pairs_hook=lambda pairs: keys.extend(key for key, _ in pairs))
    assert not [key for key in keys if key == "xet" or key.startswith(("xetH", "xetE", "xet_"))]
    assert without_xet(cleaned) == cleaned


@pytest.mark.parametrize(
    ("header", "rewritten"),
    [
        ('<https://huggingface.co/api/models?limit=2&cursor=a%3D>; rel="next"', '<http://m/api/models?limit=2&cursor=a%3D>; rel="next"'),
        ("<https://huggingface.co/api/models?cursor=x>; rel=next", '<http://m/api/models?cursor=x>; rel="next"'),
        ('</api/models?cursor=x>; rel="next"', '<http://m/api/models?cursor=x>; rel="next"'),
        ('<https://cas.example/v1>; rel="xet-auth", <https://huggingface.co/a>; rel="next"', '<http://m/a>; rel="next"'),
        ('<https://huggingface.co/r>; rel="xet-auth"', None),
        ('<https://evil.example/api/models>; rel="next"', None),
        ('<//evil.example/api/models>; rel="next"', None),
        ("garbage", None),
        (None, None),
    ],
)
def test_links_name_the_mirror(header: str | None, rewritten: str | None) -> None:
    """Paging relations to the hub name the mirror's own origin; everything else is dropped (traps 1, 7)."""
    assert paging_links(header, HUB, "http://m") == rewritten
