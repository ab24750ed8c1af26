"""What is read out of `Authorization`, and what is refused rather than passed on to a hub."""

from __future__ import annotations

from base64 import b64encode
from urllib.parse import quote

import pytest
from multidict import CIMultiDict

from mirror.core.errors import Malformed, Unidentified
from mirror.core.tokens import make
from mirror.reply.credentials import in_target, presented

KEY = b"k" * 32
TOKEN = make(KEY, bytes(range(32)))
FOREIGN = make(b"o" * 32, bytes(range(32)))


def basic(pair: str) -> str:
    return "Basic " + b64encode(pair.encode()).decode()


@pytest.mark.parametrize("value", [
    f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER   {TOKEN}", f"  Bearer {TOKEN} ", basic(f"__token__:{TOKEN}"), basic(f":{TOKEN}"),
    basic(f"{TOKEN}:{TOKEN}"), basic(f"{TOKEN}:"), basic(f"{TOKEN}:x-oauth-basic"), basic(f"user:{TOKEN}").replace("Basic", "bAsIc"),
    basic(f"user:{TOKEN}").rstrip("="),
])  # fmt: skip
def test_a_token_in_its_places(value: str) -> None:
    """As Bearer in any case, or as either half of Basic, a token is the mirror's and nothing is left for the hub."""
    assert presented(KEY, CIMultiDict({"Authorization": value})) == ("", TOKEN)


@pytest.mark.parametrize("value", [
    f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN[:-3]}", f"Bearer {TOKEN}x", f"Bearer {TOKEN.lower()}", f"Bearer {TOKEN},{TOKEN}", f"Bearer x {TOKEN}",
    f"token {TOKEN}", f"Token token={TOKEN}", TOKEN, f"Basic {TOKEN}", basic(f"a:b:{TOKEN}"), basic(f"a:{TOKEN}:b"), basic(f"a{TOKEN}"), basic(f"a:{TOKEN} "),
    basic(f"a:{TOKEN[:-3]}"), f"Bearer {b64encode(TOKEN.encode()).decode()}", f"X {b64encode(b'a' + TOKEN.encode()).decode()}",
    f"X {b64encode(b'ab' + TOKEN.encode()).decode()}", f"Basic !{b64encode(b'u:' + TOKEN.encode()).decode()[:-5]}", f'Digest username="x", response="{TOKEN}"',
    "Bearer " + TOKEN + "\u00e9",
])  # fmt: skip
def test_a_token_out_of_place_goes_no_further(value: str) -> None:
    """A token cut, grown, in another case, scheme or wrapping is refused: passed on as a credential it would reach the hub."""
    with pytest.raises(Unidentified) as caught:
        presented(KEY, CIMultiDict({"Authorization": value}))
    assert caught.value.cause == "mistyped"
    assert TOKEN[6:20] not in str(caught.value)


@pytest.mark.parametrize("value", [f"Bearer {FOREIGN}", basic(f"u:{FOREIGN}"), basic(f"{FOREIGN}:")])
def test_another_mirrors_token_is_told_as_such(value: str) -> None:
    """Without a look-up the mirror knows a token that another installation made, and does not pass it on."""
    with pytest.raises(Unidentified) as caught:
        presented(KEY, CIMultiDict({"Authorization": value}))
    assert caught.value.cause == "foreign"


@pytest.mark.parametrize("value", ["Bearer hf_" + "a" * 34, "Bearer hf_mir" + "A" * 31, basic("alice:secret"), basic("hf_mirror:pw"), "Basic ***", "Bearer", "x", "Negotiate YII="])
def test_what_is_the_hubs_stays_verbatim(value: str) -> None:
    """A hub's credential is carried as it came, whatever it is."""
    assert presented(KEY, CIMultiDict({"Authorization": value})) == (value, "")


def test_two_fields_are_no_credential() -> None:
    """Two Authorization fields are refused, good or not: who is behind the mirror might read the other one."""
    with pytest.raises(Malformed):
        presented(KEY, CIMultiDict([("Authorization", f"Bearer {TOKEN}"), ("authorization", "Bearer hf_" + "a" * 34)]))


def test_no_field_is_nobody() -> None:
    """No field and one that is no text are nobody's credential."""
    assert presented(KEY, CIMultiDict()) == ("", "")
    assert presented(KEY, CIMultiDict({"Authorization": "Bearer \u00e9"})) == ("", "")


@pytest.mark.parametrize(("target", "there"), [
    (f"/api/models?token={TOKEN}", True), (f"/{TOKEN}/x", True), (f"/x?t={quote(TOKEN).replace('_', '%5F')}", True),
    ("/x?t=" + "".join(f"%{ord(letter):02x}" for letter in TOKEN), True), ("/x?t=" + quote("".join(f"%{ord(letter):02x}" for letter in TOKEN)), True),
    (f"/x?t={TOKEN.upper()}", True), ("/acme/hf_mir/resolve/main/x", False), ("/api/models?search=hf_mirror", False), ("/acme%2Fx/y?z=%20", False),
])  # fmt: skip
def test_a_token_in_a_target_is_seen(target: str, there: bool) -> None:  # noqa: FBT001
    """A token in path or query is found through escapes, and a name that merely begins that way is not taken for one."""
    assert in_target(KEY, target) is there
