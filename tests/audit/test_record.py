"""Sealed records: canonical, chained, free of who asked and of secrets."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from mirror.audit.chain import Fault, Head, follow_link, plain_link, read_link, verify
from mirror.audit.chain import _read_slowly as read_slowly
from mirror.audit.record import GENESIS, PERSONAL, decision_json, display, prepare, public_decision, seal
from mirror.core.canonical import canonical
from mirror.core.decision import Event, EventKind
from mirror.core.facts import Fact, Facts
from tests.audit.samples import ACTOR, NOW, REQUEST, RULE, VERDICT, decision, refused

SALT = bytes(range(16))
SCHEMAS = Path(__file__).parents[2] / "docs" / "schema"
OWN = Event(EventKind.STARTED, NOW, ACTOR, subject="ledger", detail=(("version", "1"), ("ключ", [1, None, True])))
SECRETS = (
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789", "pypi-AgEIcHlwaS5vcmcCJDAwMDAwMDAwLTAwMDA", "ghp_0123456789abcdefghijABCDEFGHIJ012345",
    "Bearer s3cr3t-s3cr3t-s3cr3t", "Basic dXNlcjpzZWNyZXQ=", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", "AKIAIOSFODNN7EXAMPLE",
)  # fmt: skip


def sealed(event: Event, sequence: int = 0, previous: str = GENESIS):
    return seal(prepare(event, SALT), sequence, previous)


def validator(name: str) -> Draft202012Validator:
    schemas = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)
    registry = Registry().with_resources((key, Resource.from_contents(schema)) for key, schema in schemas.items())
    return Draft202012Validator(schemas[name], registry=registry)


def chain(count: int) -> list[bytes]:
    lines, previous = [], GENESIS
    for number in range(count):
        record = sealed(refused(number), number, previous)
        lines.append(record.line)
        previous = record.leaf
    return lines


@pytest.mark.parametrize("event", [refused(), OWN, Event(EventKind.REPEATED, NOW, ACTOR, subject='x"\\é', count=7)])
def test_canonical(event):
    """A sealed line is exactly the RFC 8785 form of itself, and its leaf is the RFC 6962 leaf hash of it without `leaf`."""
    line = sealed(event).line
    record = json.loads(line)
    assert canonical(record) + b"\n" == line
    bare = canonical({key: value for key, value in record.items() if key != "leaf"})
    assert record["leaf"] == sha256(b"\x00" + bare).hexdigest()


def test_both_readers_agree():
    """The fast reader of a line finds the same place, leaf and commitment as the one that parses it whole."""
    for event in (refused(), OWN):
        line = sealed(event, 7, "ab" * 32).line
        assert read_link(line) == read_slowly(line) == read_link(line[:-1])


def test_the_reader_that_verifies_agrees():
    """Of a record in its place, that reader gives the leaf and the commitment; with any bit flipped, or elsewhere, it gives nothing."""
    previous, place = "ab" * 32, b'","seq":7'
    odd = Event(EventKind.REPEATED, NOW, ACTOR, subject='x"')
    assert plain_link(sealed(odd, 7, previous).line, previous.encode(), place) is None  # left to the one that parses
    for event in (refused(), OWN):
        line = sealed(event, 7, previous).line
        link = read_link(line)
        assert follow_link(Head(7, previous), link) == Head(8, link.leaf)
        assert plain_link(line, previous.encode(), place) == (link.leaf.encode(), link.personal.encode())
        assert plain_link(line, b"ac" * 32, place) is plain_link(line, previous.encode(), b'","seq":8') is None
        for offset, byte in enumerate(line):
            for bit in range(8):
                changed = line[:offset] + bytes([byte ^ 1 << bit]) + line[offset + 1 :]
                assert plain_link(changed, previous.encode(), place) is None, (offset, bit)


def test_personal_part_is_committed_and_absent():
    """Who asked, address, agent and query stand in the record only as SHA-256 over salt and their canonical JSON."""
    record = sealed(refused())
    entry = json.loads(record.personal)
    for value in (ACTOR.name, ACTOR.address, ACTOR.user_agent, "download=true"):
        assert value.encode() not in record.line
        assert value.encode() in record.personal
    assert set(entry["part"]) == set(PERSONAL)
    assert json.loads(record.line)["personal"] == "sha256:" + sha256(SALT + canonical(entry["part"])).hexdigest()


def test_display_joins_and_survives_erasure():
    """The joined record shows who asked; after erasure it shows nulls in their place and everything else."""
    record = sealed(refused())
    bare = json.loads(record.line)
    joined = display(bare, json.loads(record.personal)["part"])
    assert joined["actor"]["name"] == joined["decision"]["actor"]["name"] == ACTOR.name
    assert joined["decision"]["request"]["path"] == REQUEST.path
    erased = display(bare, None)
    assert erased["actor"]["name"] is None
    assert erased["decision"]["sentence"] == joined["decision"]["sentence"]
    assert bare == json.loads(record.line)


@pytest.mark.parametrize("event", [refused(), OWN])
def test_schema(event):
    """Sealed, joined and erased records, and decisions public or not, hold to the published JSON Schemas."""
    record = sealed(event)
    bare = json.loads(record.line)
    for shown in (bare, display(bare, json.loads(record.personal)["part"]), display(bare, None)):
        validator("event.json").validate(shown)
    if event.decision is not None:
        for public in (True, False):
            validator("decision.json").validate(decision_json(event.decision, public=public))


def test_public_decision_tells_nobody():
    """What `/-/blocked` shows has no actor, agent or query, whether made from the decision or from its record."""
    record = display(json.loads(sealed(refused()).line), json.loads(sealed(refused()).personal)["part"])
    shown = decision_json(decision(), public=True)
    assert shown == public_decision(record["decision"])
    text = json.dumps(shown)
    assert not any(value in text for value in (ACTOR.name, ACTOR.address, ACTOR.user_agent, "download", "dod-contract"))


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets_are_redacted_everywhere(secret):
    """A credential planted in any text that others choose is in neither the sealed line nor the personal part."""
    actor = replace(ACTOR, name=f"u {secret}", user_agent=f"agent {secret}", groups=(secret,))
    request = replace(REQUEST, path=f"/{secret}/x?a={secret}", user_agent=f"agent {secret}", method=secret)
    rule = replace(RULE, cause=f"of {secret}", basis=secret)
    verdict = replace(VERDICT, rules=(rule,), suggestions=(secret,))
    facts = Facts(names=Fact((secret,), secret), license=Fact((secret,), "card"))
    tainted = decision(actor=actor, request=request, verdict=verdict, facts=facts)
    events = [
        Event(EventKind.REFUSED, NOW, actor, replace(tainted, sentence=f"no {secret}")),
        Event(EventKind.WRITE_REFUSED, NOW, actor, subject=f"/{secret}", detail=(("header", secret), ("in", [{"x": secret}]))),
    ]
    for event in events:
        record = sealed(event)
        core = secret.split()[-1].encode()
        assert core not in record.line + record.personal
        assert verify([record.line]) == Head(1, record.leaf)


@pytest.mark.parametrize(
    ("query", "kept"),
    [("token=abc123&page=2", "page=2"), ("X-Amz-Signature=0a0b0c&p=1", "p=1"), ("u=https://me:pw1@h/x", "https://"), ("api_key=k9&q=z", "q=z")],
)
def test_secrets_known_by_their_place(query, kept):
    """Values of telling parameters and user information in URLs are hidden, what stands beside them is kept."""
    part = json.loads(sealed(refused(request=replace(REQUEST, path=f"/x?{query}"))).personal)["part"]
    assert kept in part["query"]
    assert not any(secret in part["query"] for secret in ("abc123", "0a0b0c", "pw1", "k9"))


def test_ordinary_names_are_left_alone():
    """Projects whose names begin like tokens are recorded under their names."""
    path = "hf_internal/pypi-simple-index-of-packages/basic tokens/sig.bin"
    record = json.loads(sealed(refused(path=path, request=replace(REQUEST, path=f"/{path}"))).line)
    assert record["decision"]["request"]["path"] == f"/{path}"
    assert record["decision"]["artifact"].endswith("hf_internal/pypi-simple-index-of-packages/basic%20tokens/sig.bin")


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(codec=None), max_size=30), st.text(st.characters(codec=None), max_size=30))
def test_any_text_can_be_recorded(agent, path):
    """No text, not even half a surrogate pair from a header, keeps an event from being sealed canonically."""
    event = refused(request=replace(REQUEST, user_agent=agent, path="/" + path), actor=replace(ACTOR, name=agent))
    record = sealed(event)
    assert canonical(json.loads(record.line)) + b"\n" == record.line
    assert canonical(json.loads(record.personal)) + b"\n" == record.personal


@pytest.mark.parametrize(
    "event",
    [
        Event(EventKind.STARTED, NOW, ACTOR),
        replace(refused(), subject="both"),
        Event(EventKind.STARTED, NOW, ACTOR, subject="x", detail=(("f", 0.5),)),
        Event(EventKind.STARTED, NOW, ACTOR, subject="x", detail=(("f", object()),)),
        Event(EventKind.STARTED, datetime(2026, 1, 1), ACTOR, subject="x"),
    ],
)
def test_unsealable_events_are_the_callers_fault(event):
    """An event that no record can hold is refused when it is handed in, before it could stop a group commit."""
    with pytest.raises((ValueError, TypeError)):
        prepare(event, SALT)


def test_verify_names_the_fault():
    """A changed, missing or moved record is named by its sequence."""
    lines = chain(4)
    head = verify(lines)
    assert isinstance(head, Head)
    assert head.count == 4
    changed = lines[1].replace(b'"deny"', b'"warn"', 1)
    assert verify([lines[0], changed, *lines[2:]]) == Fault(1, "the record is not the one its leaf was made from")
    dropped = verify([lines[0], lines[2]])
    assert isinstance(dropped, Fault)
    assert (dropped.sequence, "2 stands where 1" in dropped.what) == (1, True)
    forked = sealed(refused(9), 1, "cd" * 32).line
    assert isinstance(verify([lines[0], forked]), Fault)


def test_hidden_spelling_does_not_verify():
    """A record with the same meaning but other bytes (white space, key order) is not the record."""
    record = json.loads(chain(1)[0])
    assert isinstance(verify([json.dumps(record).encode()]), Fault)
    assert isinstance(verify([json.dumps(record, separators=(",", ":"), sort_keys=False).encode()[:-1] + b" }"]), Fault)
