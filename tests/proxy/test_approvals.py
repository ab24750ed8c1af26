"""Rules that need signatures, as they change while a mirror runs and over its restarts."""

from __future__ import annotations

import json
import os
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.audit.ledger import SegmentLedger
from mirror.core import dsse
from mirror.core.actor import Actor
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.core.purl import parse_loose
from mirror.policy.evaluate import evaluate
from mirror.proxy.approvals import Approvals, TrustSources, signature_of
from mirror.proxy.rulebook import Rulebook, RuleSources
from mirror.store.archive import EvidenceArchive
from mirror.trust.drawer import Drawer
from tests.support.signers import (
    NOW,
    Person,
    activate,
    activation,
    ask,
    deny,
    grant,
    later,
    lift,
    reject,
    signed,
    waiver,
)

ALICE, CAROL, RITA = Person("alice"), Person("carol"), Person("rita", "requester", "approver")
OPEN = "version: 1\nrules: []\n"
PLAIN = 'version: 1\nrules: [{id: no-acme, when: {artifact: ["acme/*"]}, effect: deny}]\n'
LEGAL = 'version: 1\nrules: [{id: no-acme, when: {artifact: ["acme/*"]}, effect: deny, legal: true, basis: "house law"}]\n'


class House:
    """A folder with a policy, enrolled keys and data; its clock is `now`."""

    def __init__(self, folder: Path, policy=PLAIN, *, signs=False, enrolled=(ALICE, CAROL, RITA)):
        self.folder, self.data, self.cards, self.now, self.signs = folder, folder / "data", folder / "cards", NOW, signs
        self.policy = folder / "policy.yaml"
        folder.mkdir(parents=True, exist_ok=True)
        self.write(policy)
        for one in enrolled:
            one.enrol(self.cards)
        self.failures = []

    def write(self, text):
        self.policy.write_text(text)

    def book(self) -> Rulebook:
        sources = TrustSources((self.cards,), self.data, self.policy, self.signs)
        self.approvals = Approvals(sources, lambda: self.now)
        return Rulebook(RuleSources(self.policy, [], {}, approvals=self.approvals), lambda: self.now)

    async def look(self, book):
        async def changed(_):
            pass

        async def failed(error):
            self.failures.append(str(error))

        await book.refresh(changed, failed)
        return book


def effect(book, artifact="acme/thing", now=NOW, groups=()):
    verdict = evaluate(book.current.policy, parse_loose(artifact), Facts(), Actor("u", groups), now)
    return verdict.effect.word


async def recorded(house, book):
    """The same with a ledger: everything accepted is on the record, in `events`."""
    ledger = SegmentLedger(house.data / "ledger", Still(house), reserve=0)
    await ledger.start({})
    house.approvals.attach(ledger, EvidenceArchive(house.data / "evidence").keep)
    return ledger


class Still:
    def __init__(self, house):
        self._house = house

    def now(self):
        return self._house.now


def events(house, *kinds):
    found = []
    for path in sorted((house.data / "ledger").glob("segment-*.jsonl")):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return [(one["subject"], one["detail"]["outcome"]) for one in found if one["kind"] in kinds]


# --- activation -------------------------------------------------------------------------------------------------------


async def test_a_changed_policy_waits_for_its_signatures(tmp_path):
    """With `signed` a changed file stays out of force, says what is missing, and comes into force when that lies beside it."""
    house = House(tmp_path, OPEN, signs=True)
    activate(house.policy, ALICE)
    book = house.book()
    house.write(LEGAL)
    await house.look(book)
    assert (effect(book), book.waiting) == ("allow", True)
    assert "was changed after it was signed" in str(book.problems[0])
    activate(house.policy, ALICE, number=2)
    await house.look(book)
    assert (effect(book), book.waiting) == ("allow", True)
    assert "it needs 2 approvals (a legal rule is in it, or in the one in force) and has 1 (alice)" in str(book.problems[0])
    activate(house.policy, ALICE, CAROL, number=2)
    await house.look(book)
    assert (effect(book), book.waiting, book.problems) == ("deny", False, ())
    assert len(house.failures) == 2


async def test_a_start_without_any_signature_is_refused(tmp_path):
    """Where nothing was ever activated there is nothing to fall back on: the mirror does not start, and says why."""
    house = House(tmp_path, PLAIN, signs=True)
    with pytest.raises(InputError, match="nobody has signed it"):
        house.book()


async def test_a_restart_keeps_to_the_policy_that_was_activated_last(tmp_path):
    """A file changed without signatures is as much out of force after a restart as before it, and the alert is there too."""
    house = House(tmp_path, PLAIN, signs=True)
    activate(house.policy, ALICE)
    book = house.book()
    ledger = await recorded(house, book)
    await house.look(book)
    house.write(OPEN)
    again = house.book()
    assert (effect(again), again.waiting) == ("deny", True)
    house.write("version: 1\nrules: [{")
    broken = house.book()
    assert effect(broken) == "deny"
    await ledger.close()
    assert events(house, "policy") == [(book.current.policy.digest, "approved")]


async def test_an_old_policy_does_not_come_back_by_its_old_signatures(tmp_path):
    """Files and signatures that were in force once are refused when put back, also after a restart; a new activation is not."""
    house = House(tmp_path, OPEN, signs=True)
    activate(house.policy, ALICE)
    old = signature_of(house.policy).read_bytes()
    book = house.book()
    ledger = await recorded(house, book)
    await house.look(book)
    house.write(PLAIN)
    activate(house.policy, ALICE, number=2)
    await house.look(book)
    house.write(OPEN)
    signature_of(house.policy).write_bytes(old)
    await house.look(book)
    assert effect(book) == "deny"
    assert "is 1, and 2 is in force" in str(book.problems[0])
    assert effect(house.book()) == "deny"
    activate(house.policy, ALICE, number=3)
    await house.look(book)
    assert effect(book) == "allow"
    await ledger.close()


async def test_a_legal_rule_is_not_taken_out_by_one_person(tmp_path):
    """Two must approve a policy with a legal rule and whatever takes its place; that outlives a restart."""
    house = House(tmp_path, LEGAL, signs=True)
    activate(house.policy, ALICE, CAROL)
    book = house.book()
    ledger = await recorded(house, book)
    await house.look(book)
    house.write(OPEN)
    activate(house.policy, ALICE, number=2)
    await house.look(book)
    assert effect(book) == "deny"
    assert effect(house.book()) == "deny"
    activate(house.policy, ALICE, CAROL, number=2)
    await house.look(book)
    assert effect(book) == "allow"
    await ledger.close()


async def test_every_byte_of_the_policy_is_signed(tmp_path):
    """A change that no YAML reader would see - a line end, a blank, a comment - takes the policy out of order."""
    house = House(tmp_path, OPEN, signs=True)
    activate(house.policy, ALICE)
    for text in (OPEN.replace("\n", "\r\n"), OPEN + "\n", "# x\n" + OPEN, "\ufeff" + OPEN):
        house.policy.write_bytes(text.encode())
        with pytest.raises(InputError, match="changed after it was signed"):
            house.book()


async def test_no_bit_of_policy_or_signatures_can_be_flipped(tmp_path):
    """Whichever bit of the policy's file or of the signatures beside it is flipped, the mirror does not take it."""
    house = House(tmp_path, LEGAL, signs=True)
    activate(house.policy, ALICE, CAROL)
    files = {path: path.read_bytes() for path in (house.policy, signature_of(house.policy))}
    bits = sum(map(len, files.values())) * 8
    house.book()

    @settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, bits - 1))
    def flipped(bit):
        path = house.policy
        if bit >= len(files[path]) * 8:
            bit -= len(files[path]) * 8
            path = signature_of(path)
        data = bytearray(files[path])
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(bytes(data))
        try:
            with pytest.raises(InputError):
                house.book()
        finally:
            path.write_bytes(files[path])

    flipped()


async def test_a_folder_is_signed_as_a_whole(tmp_path):
    """Of a policy in several files each must be the one that was signed; one more or one less is refused."""
    house = House(tmp_path, OPEN, signs=True)
    house.policy.unlink()
    house.policy = tmp_path / "rules"
    house.policy.mkdir()
    (house.policy / "a.yaml").write_text(PLAIN)
    (house.policy / "b.yaml").write_text(OPEN)
    activate(house.policy, ALICE)
    assert effect(house.book()) == "deny"
    (house.policy / "b.yaml").unlink()
    with pytest.raises(InputError, match=r"rules/b\.yaml was signed, and is not there"):
        house.book()
    (house.policy / "b.yaml").write_text(OPEN)
    (house.policy / "c.yaml").write_text(OPEN)
    with pytest.raises(InputError, match=r"rules/c\.yaml is there, and was not signed"):
        house.book()


async def test_an_exception_in_a_signed_policy_needs_others_than_its_requester(tmp_path):
    """An exception is approved by those who sign the policy: one who asked for it does not count, a legal rule takes two others."""
    exception = 'exceptions: [{id: EX-1, rule: no-acme, scope: {artifact: "acme/ok"}, reason: x, requested_by: alice, expires: 2027-02-01}]\n'
    house = House(tmp_path, PLAIN + exception, signs=True)
    activate(house.policy, ALICE)
    with pytest.raises(InputError, match=r"exceptions\.EX-1: needs 1 approvals by others than 'alice'"):
        house.book()
    activate(house.policy, CAROL)
    assert effect(house.book(), "acme/ok") == "allow"
    house.write(PLAIN + exception.replace("requested_by: alice, ", ""))
    activate(house.policy, CAROL)
    with pytest.raises(InputError, match="names nobody in requested_by"):
        house.book()


async def test_a_link_in_the_place_of_the_signatures_is_not_followed(tmp_path):
    """Signatures are read from a regular file of modest size only."""
    house = House(tmp_path, PLAIN, signs=True)
    activate(house.policy, ALICE)
    beside = signature_of(house.policy)
    beside.rename(tmp_path / "elsewhere")
    beside.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="symbolic link"):
        house.book()
    beside.unlink()
    beside.write_bytes(b" " * (dsse.LARGEST + 1))
    with pytest.raises(InputError, match="larger than"):
        house.book()
    beside.unlink()
    os.mkfifo(beside)
    with pytest.raises(InputError, match="not a regular file"):
        house.book()


# --- waivers ----------------------------------------------------------------------------------------------------------


async def test_a_waiver_lifts_its_rule_once_it_is_signed(tmp_path):
    """A request lifts nothing; the same with an approver's signature lifts its rule for its artifact until it ends; each is recorded once."""
    house = House(tmp_path)
    book = house.book()
    ledger = await recorded(house, book)
    stated = waiver("no-acme")
    request = ask(house.data, stated)
    await house.look(book)
    assert effect(book) == "deny"
    Drawer(house.data).put(stated.id, "waiver", grant(stated, request, ALICE))
    await house.look(book)
    await house.look(book)
    assert (effect(book), effect(book, "acme/else"), effect(book, now=later(80))) == ("allow", "deny", "deny")
    assert effect(house.book()) == "allow"
    await ledger.close()
    assert events(house, "waiver") == [(stated.id, "requested"), (stated.id, "approved")]


async def test_a_legal_rule_is_lifted_by_two(tmp_path):
    """One signature on a waiver of a legal rule leaves it in force, a second person's lifts it."""
    house = House(tmp_path, LEGAL)
    stated = waiver("no-acme")
    request = ask(house.data, stated)
    book = house.book()
    one = grant(stated, request, ALICE)
    Drawer(house.data).put(stated.id, "waiver", one)
    await house.look(book)
    assert (effect(book), book.problems) == ("deny", ())
    before = Drawer(house.data).get(stated.id, "waiver")
    Drawer(house.data).sign(before, signed(one, CAROL))
    await house.look(book)
    assert effect(book) == "allow"


BAD_GRANTS = {
    "signed by the requester": lambda stated, request: grant(stated, request, RITA),
    "of a request that was never made": lambda stated, request: grant(stated, grant(stated, request), ALICE),
    "for another requester": lambda stated, request: grant(stated, request, RITA, requested_by="zoe"),
    "from another rule": lambda stated, request: grant(stated, request, ALICE, rule="other"),
    "of another waiver": lambda stated, request: grant(stated, request, ALICE, id=waiver("no-acme").id),
    "by a stranger": lambda stated, request: grant(stated, request, Person("mallory")),
}


@pytest.mark.parametrize("name", BAD_GRANTS)
async def test_a_grant_that_is_out_of_order_lifts_nothing(tmp_path, name):
    """A grant signed by the requester or a stranger, or of something else than the request that lies there, is void and shown."""
    house = House(tmp_path)
    stated = waiver("no-acme")
    request = ask(house.data, stated)
    Drawer(house.data).put(stated.id, "waiver", BAD_GRANTS[name](stated, request))
    book = house.book()
    assert effect(book) == "deny"
    assert len(book.problems) == 1
    assert stated.id in book.problems[0].source


async def test_what_a_rule_says_of_waivers_is_obeyed(tmp_path):
    """`none` admits no waiver however it is signed; `automatic` grants one artifact for a while, and never of a legal rule."""
    house = House(tmp_path, PLAIN.replace("effect: deny", "effect: deny, waiver: none"))
    stated = waiver("no-acme")
    Drawer(house.data).put(stated.id, "waiver", grant(stated, ask(house.data, stated), ALICE, CAROL))
    book = house.book()
    assert effect(book) == "deny"
    assert "admits no waiver" in str(book.problems[0])
    house.write(PLAIN.replace("effect: deny", "effect: deny, waiver: automatic"))
    ask(house.data, waiver("no-acme", "acme/own"))
    ask(house.data, waiver("no-acme", "acme/far*"))
    ask(house.data, waiver("no-acme", "acme/long", expires=date(2028, 1, 1)))
    await house.look(book)
    assert [effect(book, f"acme/{name}") for name in ("own", "far", "long")] == ["allow", "deny", "deny"]
    house.write(LEGAL.replace("effect: deny", "effect: deny, waiver: automatic"))
    await house.look(book)
    assert effect(book, "acme/own") == "deny"


async def test_a_rejection_is_for_good(tmp_path):
    """One approver takes a waiver back; taking the rejection's file away again does not bring it back."""
    house = House(tmp_path)
    stated = waiver("no-acme")
    Drawer(house.data).put(stated.id, "waiver", grant(stated, ask(house.data, stated), ALICE))
    book = house.book()
    ledger = await recorded(house, book)
    assert effect(book) == "allow"
    reject(house.data, stated, CAROL)
    await house.look(book)
    assert effect(book) == "deny"
    Drawer(house.data).path(stated.id, "rejection").unlink()
    await house.look(book)
    assert effect(book) == "deny"
    assert "what was accepted holds" in str(book.problems[0])
    await ledger.close()


async def test_a_waiver_whose_rule_has_gone_does_not_stop_the_policy(tmp_path):
    """A policy without the rule comes into force; the waiver is shown as without effect."""
    house = House(tmp_path)
    stated = waiver("no-acme")
    Drawer(house.data).put(stated.id, "waiver", grant(stated, ask(house.data, stated), ALICE))
    book = house.book()
    house.write(PLAIN.replace("no-acme", "other"))
    await house.look(book)
    assert effect(book) == "deny"
    assert "no rule in force has the id 'no-acme'" in str(book.problems[0])


async def test_a_key_that_is_revoked_takes_its_waivers_with_it(tmp_path):
    """Revoked from before it signed, a key's signatures count no more, also on what was accepted."""
    house = House(tmp_path)
    stated = waiver("no-acme")
    Drawer(house.data).put(stated.id, "waiver", grant(stated, ask(house.data, stated), ALICE))
    book = house.book()
    assert effect(book) == "allow"
    card = next(house.cards.glob("alice-*.yaml"))
    card.write_text(card.read_text() + "revoked: 2026-11-01\n")
    await house.look(book)
    assert effect(book) == "deny"


async def test_what_was_accepted_outlives_its_keys(tmp_path):
    """A waiver accepted while the key was valid stays in force after the key has expired, also over a restart; a new one does not come."""
    brief = Person("brief", until=later(2))
    house = House(tmp_path, enrolled=(brief,))
    stated, late = waiver("no-acme"), waiver("no-acme", "acme/late")
    Drawer(house.data).put(stated.id, "waiver", grant(stated, ask(house.data, stated), brief))
    book = house.book()
    ledger = await recorded(house, book)
    await house.look(book)
    house.now = later(3)
    Drawer(house.data).put(late.id, "waiver", grant(late, ask(house.data, late), brief))
    await house.look(book)
    assert (effect(book, now=house.now), effect(book, "acme/late", now=house.now)) == ("allow", "deny")
    assert effect(house.book(), now=house.now) == "allow"
    await ledger.close()


# --- emergency --------------------------------------------------------------------------------------------------------


async def test_an_emergency_deny_is_in_force_at_the_next_look(tmp_path):
    """One approver's signature refuses an artifact to everybody, whatever the policy permits; lifting it takes another's request."""
    house = House(tmp_path, OPEN)
    book = house.book()
    ledger = await recorded(house, book)
    number = book.current.number
    stated = deny(house.data, "globex/*", ALICE)
    await house.look(book)
    assert (effect(book, "globex/x"), book.current.number) == ("deny", number + 1)
    lift(house.data, stated, CAROL, by="carol")
    await house.look(book)
    assert effect(book, "globex/x") == "deny"
    Drawer(house.data).path(stated.id, "lift").unlink()
    lift(house.data, stated, CAROL)
    await house.look(book)
    assert effect(book, "globex/x") == "allow"
    await ledger.close()
    assert events(house, "emergency") == [(stated.id, "denied"), (stated.id, "lifted")]


async def test_an_emergency_does_not_wait_for_a_broken_policy(tmp_path):
    """While the policy file is broken, or waits for signatures, an emergency deny comes into force all the same."""
    house = House(tmp_path, OPEN)
    book = house.book()
    house.write("version: 1\nrules: [{")
    await house.look(book)
    deny(house.data, "globex/*", ALICE)
    await house.look(book)
    assert effect(book, "globex/x") == "deny"
    assert book.problems
    house.write("version: 1\nalso: 1\n")
    deny(house.data, "umbrella/*", ALICE)
    await house.look(book)
    assert effect(book, "umbrella/x") == "deny"


async def test_an_emergency_outdoes_the_policys_own_tests_and_waivers(tmp_path):
    """A deny comes into force although a test of the policy expects otherwise, and no exception can name its rule."""
    told = "tests: [{name: globex is fine, given: {artifact: globex/x}, expect: {effect: allow}}]\n"
    house = House(tmp_path, OPEN + told)
    book = house.book()
    stated = deny(house.data, "globex/*", ALICE)
    await house.look(book)
    wanted = waiver("emergency-" + stated.id[2:].lower(), "globex/x")
    Drawer(house.data).put(wanted.id, "waiver", grant(wanted, ask(house.data, wanted), ALICE, CAROL))
    await house.look(book)
    assert effect(book, "globex/x") == "deny"


async def test_a_deny_that_was_accepted_does_not_go_with_its_file(tmp_path):
    """A deny whose file is removed, emptied or damaged stays in force, over a restart too, and the loss is shown."""
    house = House(tmp_path, OPEN)
    book = house.book()
    ledger = await recorded(house, book)
    stated = deny(house.data, "globex/*", ALICE)
    await house.look(book)
    path = Drawer(house.data).path(stated.id, "deny")
    whole = path.read_bytes()
    for damage in (b"", whole[:-2] + b"x\n", whole.replace(b'"sig":"', b'"sig":"AAAA')):
        path.write_bytes(damage)
        await house.look(book)
        assert effect(book, "globex/x") == "deny"
        assert book.problems
    path.unlink()
    again = house.book()
    assert effect(again, "globex/x") == "deny"
    assert "what was accepted holds" in str(again.problems[0])
    await ledger.close()


async def test_a_legal_deny_is_lifted_by_two(tmp_path):
    """The end of a legal emergency deny takes two approvers who did not ask for it."""
    house = House(tmp_path, OPEN)
    stated = deny(house.data, "globex/*", ALICE, legal=True, basis="order 7")
    lift(house.data, stated, CAROL)
    book = house.book()
    assert effect(book, "globex/x") == "deny"
    Drawer(house.data).path(stated.id, "lift").unlink()
    lift(house.data, stated, CAROL, ALICE)
    await house.look(book)
    assert effect(book, "globex/x") == "allow"


async def test_a_damaged_register_lets_no_deny_go(tmp_path):
    """With the register damaged what it said before and what lies in the drawer are in force all the same, and the damage is shown."""
    house = House(tmp_path, OPEN)
    book = house.book()
    ledger = await recorded(house, book)
    lost, _ = deny(house.data, "globex/*", ALICE), deny(house.data, "umbrella/*", ALICE)
    await house.look(book)
    register = house.data / "approvals" / "register.jsonl"
    register.write_bytes(register.read_bytes() + b"rubbish\n")
    Drawer(house.data).path(lost.id, "deny").unlink()
    await house.look(book)
    assert (effect(book, "globex/x"), effect(book, "umbrella/x")) == ("deny", "deny")
    assert "is damaged" in str(book.problems)
    assert effect(house.book(), "umbrella/x") == "deny"
    await ledger.close()


HOSTILE = {
    "a link": lambda path, good: path.symlink_to(good),
    "a folder": lambda path, good: path.mkdir(),
    "a pipe": lambda path, good: os.mkfifo(path),
    "a huge file": lambda path, good: path.write_bytes(b"{" * (dsse.LARGEST + 1)),
    "rubbish": lambda path, good: path.write_bytes(b"\xff\x00"),
    "another's statement": lambda path, good: path.write_bytes(good.read_bytes()),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_one_bad_file_hides_no_other(tmp_path, name):
    """A link, pipe, folder, huge or foreign file among the statements is one problem that names it; the others are in force."""
    house = House(tmp_path, OPEN)
    stated = deny(house.data, "globex/*", ALICE)
    good = Drawer(house.data).path(stated.id, "deny")
    bad = good.with_name("D-01KZZZZZZZZZZZZZZZZZZZZZZZ.deny.json")
    HOSTILE[name](bad, good)
    book = house.book()
    assert effect(book, "globex/x") == "deny"
    assert [problem.source for problem in book.problems] == [str(bad)]


async def test_a_deny_signed_as_something_else_is_void(tmp_path):
    """A signature given for a waiver's rejection cannot be used as a deny: what is signed says what it is."""
    house = House(tmp_path, OPEN)
    stated = deny(house.data, "globex/*", ALICE)
    path = Drawer(house.data).path(stated.id, "deny")
    envelope = dsse.read(path.read_bytes(), "x")
    other = signed(dsse.Envelope("application/vnd.entrepot.lift+json", envelope.payload), ALICE)
    path.write_bytes(dsse.written(dsse.Envelope(envelope.kind, envelope.payload, other.signatures)))
    book = house.book()
    assert effect(book, "globex/x") == "allow"
    assert "over these bytes" in str(book.problems[0])


async def test_signatures_over_the_text_alone_are_none(tmp_path):
    """An activation names its files by digest: the envelope of one installation's policy brings no other text into force."""
    house = House(tmp_path, PLAIN, signs=True)
    envelope = signed(activation(house.policy), ALICE)
    house.write(OPEN)
    signature_of(house.policy).write_bytes(dsse.written(envelope))
    with pytest.raises(InputError, match="changed after it was signed"):
        house.book()
