"""What a mirror token looks like, and what is told apart without a look-up."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.tokens import Form, digest, form, make, remains

KEY, OTHER = b"k" * 32, b"o" * 32
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@settings(max_examples=50)
@given(st.binary(min_size=32, max_size=32))
def test_a_token_is_what_the_hubs_clients_take(chance: bytes) -> None:
    """`hf_mir` and 34 letters and digits, known by its maker and as a stranger's by every other mirror."""
    token = make(KEY, chance)
    assert re.fullmatch(r"hf_mir[A-Za-z0-9]{34}", token)
    assert form(KEY, token) is Form.OURS
    assert form(OTHER, token) is Form.FOREIGN


@settings(max_examples=100)
@given(st.binary(min_size=32, max_size=32), st.integers(0, 33), st.sampled_from(LETTERS))
def test_one_wrong_letter_is_a_slip(chance: bytes, at: int, letter: str) -> None:
    """Any one letter changed makes a mistyped token, never a good one nor a stranger's: a CRC finds every such change."""
    token = make(KEY, chance)
    wrong = token[: 6 + at] + letter + token[7 + at :]
    assert form(KEY, wrong) is (Form.OURS if wrong == token else Form.MISTYPED)


@pytest.mark.parametrize("change", [
    lambda token: token[:-1], lambda token: token[:-3], lambda token: token[:-6], lambda token: token[:20], lambda token: token + "x",
    lambda token: token.upper(), lambda token: token.swapcase(), lambda token: f"x:{token}", lambda token: f"{token} {token}", lambda token: token + "\n",
])  # fmt: skip
def test_what_is_cut_or_grown_is_no_hubs_token(change) -> None:
    """A part of a token, one with something beside it or in another case is known as a mirror token gone wrong."""
    token = make(KEY, bytes(range(32)))
    assert form(KEY, change(token)) is Form.MISTYPED
    assert remains(KEY, f"Basic {change(token)}")


@pytest.mark.parametrize("text", ["hf_" + "mir" + "A" * 31, "hf_" + "a" * 34, "hf_mirror", "api_org_" + "mir" * 11, "", "hf_mir", "hf_mir-" + "a" * 33])
def test_a_hubs_own_token_is_left_alone(text: str) -> None:
    """A hub's token passes for one, even if chance began it with `mir`; so does a word that merely begins that way."""
    assert form(KEY, text) is Form.NONE
    assert not remains(KEY, f"Bearer {text}")


def test_the_hash_is_keyed() -> None:
    """Whoever has the table cannot try tokens on it: the same token has another hash in every installation."""
    token = make(KEY, os.urandom(32))
    assert digest(KEY, token) == digest(KEY, token) != digest(OTHER, token)
    assert token not in digest(KEY, token)


def test_a_token_takes_its_full_chance() -> None:
    """Short randomness is refused rather than stretched."""
    with pytest.raises(ValueError, match="32 random bytes"):
        make(KEY, b"short")
