"""Reviewers' findings in the pure engine: what they change, what they do not, and when they count no longer."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.facts import Facts, Owner
from mirror.core.findings import FALSE_MATCH, REOPENED, TRUE_MATCH, UNSURE, Finding
from mirror.core.purl import parse_loose
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.reviewed import Reviewed, subject_digest, subject_of
from mirror.policy.screening import ListEntry, ScreeningList
from tests.policy.builders import LINEAGE, NOW, WORLD, publisher

ENTRY = ListEntry("E-1", "Umbrela Research Corporation")
UMBRELLA = publisher("umbrella-labs", "Umbrella Research Corporation", "GB")
CHILD = publisher("umbrella-child", "Quiet Child", "GB", parent="umbrella-labs")


def found(finding, who=UMBRELLA, entry=ENTRY, name="", listed="house", at=NOW, number="1"):
    return Finding(number, subject_of(who, name), subject_digest(who, name), listed, entry.id, entry.digest, finding, "ann", at, "looked")


def verdict_on(name, *findings, entries=(ENTRY,), family=(UMBRELLA, CHILD), now=NOW, **condition):
    """The verdict of one rule that denies by the list, under these findings."""
    catalogue = Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, *family)])
    lists = {"house": ScreeningList("house", "1", entries, "house", "both").under(Reviewed(findings) if findings else None)}
    rule = {"id": "r", "when": {"list_match": {"lists": ["house"], **condition}}, "effect": "deny"}
    text = json.dumps({"version": 1, "defaults": {"on_unknown": {"publisher": "allow"}}, "rules": [rule]})
    the_policy = compile_policy([("policy.yaml", text)], catalogue, LINEAGE, lists)
    artifact = parse_loose(name)
    return evaluate(the_policy, artifact, derive(Facts(), artifact, catalogue, LINEAGE), Actor("a"), now)


@pytest.mark.parametrize(("findings", "effect", "said"), [
    ((), Effect.DENY, ""),
    ((FALSE_MATCH,), Effect.ALLOW, FALSE_MATCH),
    ((UNSURE,), Effect.DENY, UNSURE),
    ((TRUE_MATCH,), Effect.DENY, TRUE_MATCH),
    ((FALSE_MATCH, TRUE_MATCH), Effect.DENY, TRUE_MATCH),
])
def test_a_false_match_decides_nothing_and_stays_on_the_record(findings, effect, said):
    """The latest finding counts; a false match is served, and the decision's match names the finding and its id."""
    given = [found(word, at=datetime(2026, 1, n + 1, tzinfo=UTC), number=str(n)) for n, word in enumerate(findings)]
    verdict = verdict_on("umbrella-labs/x#m", *given)
    assert verdict.effect is effect
    [match] = verdict.matches
    assert (match.finding, match.verdict) == (said, str(len(findings) - 1) if findings else "")


def test_a_true_match_has_the_rule_s_own_effect_below_the_hit_band():
    """What would only be held is denied once a reviewer says that it is true, and held again while he is unsure."""
    assert verdict_on("umbrella-labs/x#m", hit=0.99).effect is Effect.REVIEW
    assert verdict_on("umbrella-labs/x#m", found(TRUE_MATCH), hit=0.99).effect is Effect.DENY
    assert verdict_on("umbrella-labs/x#m", found(UNSURE), hit=0.99).effect is Effect.REVIEW


@pytest.mark.parametrize("changed", [
    {"entries": (replace(ENTRY, country="GB"),)},
    {"entries": (replace(ENTRY, aliases=("Something Else",)),)},
    {"family": (replace(UMBRELLA, aliases=("Umbrella",)), CHILD)},
    {"family": (replace(UMBRELLA, web=("umbrella.example",)), CHILD)},
])
def test_a_finding_counts_no_longer_when_either_side_changes(changed):
    """Any change of the entry or of the publisher opens the match again, and the record says which finding was passed over."""
    verdict = verdict_on("umbrella-labs/x#m", found(FALSE_MATCH), **changed)
    assert verdict.effect is Effect.DENY
    assert [(match.finding, match.verdict) for match in verdict.matches] == [(REOPENED, "1")]


def test_a_finding_on_another_entry_or_list_changes_nothing():
    """A finding is about one entry of one list."""
    other = found(FALSE_MATCH, entry=ListEntry("E-2", ENTRY.name))
    assert verdict_on("umbrella-labs/x#m", other, found(FALSE_MATCH, listed="another", number="2")).effect is Effect.DENY
    two = (ENTRY, ListEntry("E-2", ENTRY.name))
    verdict = verdict_on("umbrella-labs/x#m", found(FALSE_MATCH), entries=two)
    assert verdict.effect is Effect.DENY
    assert "Umbrela" in verdict.sentence


def test_a_finding_on_a_parent_holds_for_what_is_below_it():
    """A child that is matched through its parent's name is as free of the match as the parent itself."""
    assert verdict_on("umbrella-child/x#m").effect is Effect.DENY
    assert verdict_on("umbrella-child/x#m", found(FALSE_MATCH)).effect is Effect.ALLOW


def test_a_stranger_s_name_can_be_cleared_and_only_that_name():
    """A finding on a handle that the catalogue does not know holds for this handle in any case of letters, and no other."""
    entries = (ListEntry("S", "Initrode Systems"),)
    clear = found(FALSE_MATCH, None, entries[0], name="INITRODE-systems")
    assert verdict_on("initrode-systems/x#m", entries=entries).effect is Effect.DENY
    assert verdict_on("initrode-systems/x#m", clear, entries=entries).effect is Effect.ALLOW
    assert verdict_on("initrode_systems/x#m", clear, entries=entries).effect is Effect.DENY


# --- ownership ------------------------------------------------------------------------------------------------------------

LISTED = (ListEntry("E", "Zenith Holdings"), ListEntry("F", "Nadir Group Works"))
TOP = (publisher("top", "Zenith Holdings", "IR"), publisher("low", "Nadir Group Works", "IR"))


def owned(*owners, further=(), now=NOW, **ownership):
    """What a rule with `ownership` does to a publisher with these owners."""
    family = (*TOP, publisher("held", "Held", "GB", owners=owners), *further)
    return verdict_on("held/x#m", entries=LISTED, family=family, now=now, ownership=ownership).effect


def test_blocked_owners_are_counted_together_and_through_any_number_of_hands():
    """Two listed minorities that make up half deny; so does an unlisted owner whom listed ones hold by half together."""
    assert owned(Owner("top", 3000, "t", None), Owner("low", 2000, "t", None)) is Effect.DENY
    assert owned(Owner("top", 3000, "t", None), Owner("low", 1999, "t", None)) is Effect.ALLOW
    between = publisher("between", "Between", "GB", owners=(Owner("top", 2600, "t", None), Owner("low", 2400, "t", None)))
    assert owned(Owner("between", 6000, "t", None), further=(between,)) is Effect.DENY
    thin = publisher("between", "Between", "GB", owners=(Owner("top", 2600, "t", None), Owner("low", 2300, "t", None)))
    assert owned(Owner("between", 6000, "t", None), further=(thin,)) is Effect.ALLOW


def test_an_unknown_share_of_a_listed_owner_is_reviewed_or_let_be():
    """`unknown: review` is the default, `allow` leaves it; at any remove."""
    unknown = Owner("top", None, "t", None)
    assert owned(unknown) is Effect.REVIEW
    assert owned(unknown, unknown="allow") is Effect.ALLOW
    between = publisher("between", "Between", "GB", owners=(unknown,))
    assert owned(Owner("between", 6000, "t", None), further=(between,)) is Effect.REVIEW


def test_a_loop_of_minorities_ends():
    """Cross-holdings are legal: two that own a part of each other are judged once each."""
    other = publisher("between", "Between", "GB", owners=(Owner("held", 3000, "t", None), Owner("top", 4000, "t", None)))
    assert owned(Owner("between", 4000, "t", None), further=(other,)) is Effect.ALLOW


def test_a_share_counts_from_its_day_until_its_last_and_verdicts_know_it():
    """`since` inclusive, `until` exclusive, midnight UTC; the verdict before says until when it can be trusted."""
    share = Owner("top", 6000, "t", None, since=date(2027, 1, 1), until=date(2028, 1, 1))
    days = [datetime(2026, 12, 31, 23, 59, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 12, 31, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)]
    assert [owned(share, now=moment) for moment in days] == [Effect.ALLOW, Effect.DENY, Effect.DENY, Effect.ALLOW]
    family = (*TOP, publisher("held", "Held", "GB", owners=(share,)))
    verdict = verdict_on("held/x#m", entries=LISTED, family=family, now=days[0], ownership={})
    assert verdict.valid_until == days[1]
