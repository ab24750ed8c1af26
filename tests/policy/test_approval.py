"""Whose signatures count."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core import dsse
from mirror.core.errors import InputError
from mirror.policy import statements
from mirror.policy.approval import Demand, approvals, requested
from tests.support.signers import NOW, Person, later, roll, signed, waiver

ALICE, CAROL, DAVE = Person("alice"), Person("carol"), Person("dave", "approver", "requester")
ALICES_OTHER = Person("alice")
RITA = Person("rita", "requester")
BOTH = Person("rita", "requester", "approver")
OLD, YOUNG, GONE = Person("olga", until=later(-1)), Person("yves", since=later(1)), Person("gus", revoked=later(-1))
STRANGER = Person("mallory")
ROLL = roll(ALICE, ALICES_OTHER, CAROL, DAVE, RITA, BOTH, OLD, YOUNG, GONE)
PLAIN = statements.drafted(statements.GRANT, waiver("no-acme", request="0" * 64))
BY_RITA = Demand("rita", NOW)


def weighed(envelope, demand=BY_RITA, now=NOW):
    return approvals(envelope, ROLL, demand, now, "it")


def test_two_approvers_are_two():
    """Each approver who did not ask for it counts once, in the order of the signatures."""
    assert weighed(signed(PLAIN, CAROL, ALICE)) == ("carol", "alice")
    assert weighed(PLAIN) == ()


REFUSED = {
    "the requester": ((BOTH,), "'rita' requested this and cannot approve it"),
    "the requester beside an approver": ((ALICE, BOTH), "'rita' requested this"),
    "one key twice": ((ALICE, ALICE), "'alice' has signed already"),
    "one person with two keys": ((ALICE, ALICES_OTHER), "'alice' has signed already, with another key"),
    "a key that is not enrolled": ((STRANGER,), "no enrolled key has the id"),
    "a stranger beside an approver": ((ALICE, STRANGER), "no enrolled key has the id"),
    "an expired key": ((OLD,), "the key of 'olga' was not valid"),
    "a key of tomorrow": ((YOUNG,), "the key of 'yves' was not valid"),
    "a revoked key": ((GONE,), "revoked"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_signature_that_must_not_be_there_voids_the_whole(name):
    """A signature by the requester, twice by one key or person, or by an unknown or invalid key is one clear error."""
    people, said = REFUSED[name]
    with pytest.raises(InputError, match=said) as caught:
        weighed(signed(PLAIN, *people))
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].place == f"signatures[{len(people) - 1}]"


def test_a_signature_over_other_bytes_is_refused():
    """A signature moved to another payload, to the same payload as another kind, or to another key's name does not hold."""
    good = signed(PLAIN, ALICE)
    moved = (
        replace(good, payload=good.payload.replace(b"acme/thing", b"acme/other")),
        replace(good, payload=good.payload + b" "),
        replace(good, kind=statements.REQUEST),
        replace(good, signatures=(replace(good.signatures[0], key=CAROL.card.id),)),
    )
    for one in moved:
        with pytest.raises(InputError, match="over these bytes"):
            weighed(one)


def test_a_name_spelt_otherwise_is_the_same_person():
    """Upper case and blanks around the requester's name do not make another person of them."""
    with pytest.raises(InputError, match="cannot approve"):
        weighed(signed(PLAIN, BOTH), Demand(" RITA", NOW))


def test_a_key_that_has_expired_since_is_believed_of_what_was_accepted():
    """What was accepted while its keys were valid stays; the same envelope shown for the first time afterwards does not count."""
    brief = Person("brief", until=later(1))
    envelope, known = signed(PLAIN, brief), roll(brief)
    assert approvals(envelope, known, BY_RITA, NOW, "it") == ("brief",)
    assert approvals(envelope, known, replace(BY_RITA, accepted=True), later(2), "it") == ("brief",)
    with pytest.raises(InputError, match="is not valid now"):
        approvals(envelope, known, BY_RITA, later(2), "it")


def test_a_statement_of_tomorrow_waits():
    """A date ahead of our clock by more than some minutes is refused: nobody can have signed then."""
    assert weighed(signed(PLAIN, ALICE), Demand("rita", NOW), now=later(-0.003)) == ("alice",)
    with pytest.raises(InputError, match="is dated"):
        weighed(signed(PLAIN, ALICE), Demand("rita", NOW), now=later(-1))


def test_a_requester_who_must_sign_does_and_it_is_no_approval():
    """With `trust.requests: signed` the requester's signature is needed, counts as nothing, and must be in that role."""
    demand = replace(BY_RITA, requester_signs=True)
    assert weighed(signed(PLAIN, RITA, ALICE), demand) == ("alice",)
    with pytest.raises(InputError, match="'rita', who requested this, has not signed it"):
        weighed(signed(PLAIN, ALICE, CAROL), demand)
    with pytest.raises(InputError, match="cannot approve"):
        weighed(signed(PLAIN, ALICE), Demand("alice", NOW, requester_signs=True))


def test_a_request_is_signed_by_whom_it_names():
    """A signed request must bear the named person's own signature in the role of a requester; unsigned is for `named` only."""
    requested(PLAIN, ROLL, BY_RITA, NOW, "it")
    requested(signed(PLAIN, RITA), ROLL, BY_RITA, NOW, "it")
    for envelope, demand, said in (
        (PLAIN, replace(BY_RITA, requester_signs=True), "has not signed this request"),
        (signed(PLAIN, DAVE), BY_RITA, "signed by 'dave', requested by 'rita'"),
        (signed(PLAIN, ALICE), Demand("alice", NOW), "'alice' is no requester"),
    ):
        with pytest.raises(InputError, match=said):
            requested(envelope, ROLL, demand, NOW, "it")


EVERYBODY = [ALICE, ALICES_OTHER, CAROL, DAVE, BOTH, OLD, YOUNG, GONE, STRANGER]
GOOD = {ALICE.card.id, ALICES_OTHER.card.id, CAROL.card.id, DAVE.card.id}


@settings(max_examples=120, deadline=None)
@given(st.lists(st.sampled_from(EVERYBODY), max_size=4))
def test_whatever_is_accepted_has_as_many_persons_as_signatures(people):
    """For any signers: either each is another valid approver who did not ask, and all count, or nothing does."""
    fine = all(one.card.id in GOOD for one in people) and len({one.id for one in people}) == len(people)
    try:
        found = weighed(signed(PLAIN, *people))
    except InputError:
        assert not fine
    else:
        assert fine
        assert found == tuple(one.id for one in people)


WRITTEN = dsse.written(signed(PLAIN, ALICE, CAROL))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(WRITTEN) * 8 - 1))
def test_no_bit_of_an_envelope_can_be_flipped(bit):
    """Whichever single bit of the file of a signed statement is flipped - payload, type, key, signature, framing - it is refused."""
    data = bytearray(WRITTEN)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InputError):
        envelope = dsse.read(bytes(data), "it")
        statements.read(envelope, statements.GRANT, "it")
        weighed(envelope)


BAD_PAYLOADS = {
    "a duplicate key": (lambda raw: raw.replace(b'{"at"', b'{"rule":"other","at"'), "duplicate key 'rule'"),
    "a duplicate key inside": (lambda raw: raw.replace(b'"groups":[]', b'"groups":[],"groups":["x"]'), "duplicate key 'groups'"),
    "an unknown key": (lambda raw: raw.replace(b'{"at"', b'{"also":1,"at"'), "also"),
    "no JSON": (lambda raw: raw[:-1], "is not JSON"),
    "no end": (lambda raw: raw.replace(b'"expires":"2027-02-01"', b'"expires":null'), "expires"),
    "a number for a date": (lambda raw: raw.replace(b'"expires":"2027-02-01"', b'"expires":1'), "expires"),
    "an id of somewhere else": (lambda raw: raw.replace(b'"id":"W-', b'"id":"../'), "id"),
    "no artifact": (lambda raw: raw.replace(b'["acme/thing"]', b"[]"), "names no artifact"),
    "a pattern that is none": (lambda raw: raw.replace(b"acme/thing", b"pkg:cargo/x"), "ecosystem"),
    "an empty reason": (lambda raw: raw.replace(b'"reason":"ticket 4411"', b'"reason":" "'), "reason"),
    "a control character": (lambda raw: raw.replace(b"ticket 4411", b"ticket\\u001b[2J"), "control character"),
    "half a licence": (lambda raw: raw.replace(b'"licence":null', b'"licence":{"number":"BIS-1","item":"x","parties":[]}'), "licence"),
    "a naive time": (lambda raw: raw.replace(b'12:00:00.000000Z"', b'12:00:00"'), "at"),
    "another version": (lambda raw: raw.replace(b'"version":1', b'"version":2'), "version"),
}


@pytest.mark.parametrize("name", BAD_PAYLOADS)
def test_a_payload_that_says_two_things_or_nothing_is_refused(name):
    """A well-signed payload with duplicate or unknown keys, or values without meaning, is one clear error with its place."""
    change, said = BAD_PAYLOADS[name]
    payload = change(PLAIN.payload)
    assert payload != PLAIN.payload
    with pytest.raises(InputError, match=said) as caught:
        statements.read(dsse.Envelope(statements.GRANT, payload), statements.GRANT, "it")
    assert all(problem.place.startswith("payload") for problem in caught.value.problems)


def test_a_statement_comes_back_as_it_was_drafted():
    """What a statement says survives its being written and read, licence and dates included."""
    licence = statements.Licence("D-1234", "5A992 weights", ("Acme Ltd", "Globex"), None, later(90).date(), "an authority")
    stated = waiver("no-acme", licence=licence, since=later(1).date())
    assert statements.read(statements.drafted(statements.REQUEST, stated), statements.REQUEST, "it") == stated
    assert json.loads(statements.drafted(statements.REQUEST, stated).payload)["licence"]["parties"] == ["Acme Ltd", "Globex"]
