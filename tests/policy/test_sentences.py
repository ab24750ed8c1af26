"""The sentence: one latin-1 line that fits a header and still says what decided."""

from __future__ import annotations

import re
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.decision import Effect
from mirror.core.facts import Fact
from mirror.policy.sentences import LIMIT
from tests.policy.builders import NOW, judge, policy, rule

FEW = settings(max_examples=60, deadline=None, derandomize=True)
CHAIN = [(f"someone/step-{n}", "finetune") for n in range(6)]


def test_a_short_lineage_is_told_step_by_step():
    """Every hop from the artifact to what is denied stands in the sentence, with its relation, and who made it."""
    found = judge(rule({"origin": ["CN"]}), "a/q#m", chain=[("b/t", "quantized"), ("c/m", "merge"), ("globex/base", "adapter")])
    assert found.sentence == (
        "Blocked by policy rule 'r': a/q is quantized from b/t, a merge of c/m, an adapter of globex/base, published by Globex (CN)."
    )


def test_a_long_lineage_names_both_ends_and_counts_the_middle():
    """The nearest steps and what is denied stay, whatever lies between; the record has the whole path."""
    found = judge(rule({"origin": ["CN"]}), "a/q#m", chain=[*CHAIN, ("globex/base", "adapter")])
    assert "is a finetune of someone/step-0, a finetune of someone/step-1, 3 more steps, a finetune of someone/step-5, an adapter of globex/base, published by Globex (CN)." in found.sentence
    assert len(found.lineage) == 7


def test_a_sentence_that_is_too_long_loses_its_middle_only():
    """Rule, thing and what instead survive a reason of any length."""
    found = judge(rule({"artifact": "acme/*"}, reason="because " * 400, suggest=["globex/solid-7b"]), "acme/x#m")
    assert len(found.sentence) <= LIMIT
    assert found.sentence.startswith("Blocked by policy rule 'r': acme/x: because because")
    assert found.sentence.endswith("... Permitted instead: globex/solid-7b.")


def test_many_suggestions_are_counted():
    """Three are named, the others counted; the verdict has them all."""
    found = judge(rule({"artifact": "acme/*"}, suggest=[f"globex/m-{n}" for n in range(9)]), "acme/x#m")
    assert found.sentence.endswith("Permitted instead: globex/m-0, globex/m-1, globex/m-2 and 6 more.")
    assert len(found.suggestions) == 9


TEXT = st.text(st.characters(max_codepoint=0xFFFF, blacklist_categories=("Cs",)), max_size=1500)


@FEW
@given(TEXT, st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/?#@%"), min_size=1, max_size=300), st.sampled_from(["deny", "review", "warn", "quarantine", "allow"]))
def test_a_sentence_fits_a_header_whatever_people_write(reason, path, effect):
    """One line, latin-1, printable, at most `LIMIT`, for any reason, path and effect."""
    found = judge(rule({"file": "*"}, effect=effect, reason=reason, top={"defaults": {"action": "deny"}}), f"acme/x#a{path}")
    assert len(found.sentence) <= LIMIT
    assert found.sentence.encode("latin-1")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f]", found.sentence)


AUDITED = """
rules:
  - {id: enforced, when: {artifact: "acme/*"}, effect: warn}
  - {id: watched, when: {artifact: "acme/*"}, effect: deny, mode: audit}
exceptions:
  - {id: EX, rule: watched, scope: {artifact: "acme/fine"}, reason: r, expires: 2027-01-01}
"""


def test_an_exception_lifts_an_audited_rule_from_what_would_be():
    """Without it `would` is deny; with it the rule is still on record, lifted, and counts for nothing."""
    plain, lifted = judge(policy(AUDITED), "acme/x#m"), judge(policy(AUDITED), "acme/fine#m")
    assert (plain.effect, plain.would) == (Effect.WARN, Effect.DENY)
    assert (lifted.effect, lifted.would) == (Effect.WARN, Effect.WARN)
    assert [(hit.id, hit.exception) for hit in lifted.rules] == [("enforced", ""), ("watched", "EX")]


def test_what_is_audited_neither_decides_nor_speaks():
    """An audited refusal leaves effect, status and sentence alone; an audited permission permits nothing."""
    found = judge(policy(AUDITED), "acme/x#m")
    assert found.determining is not None
    assert found.determining.id == "enforced"
    assert "watched" not in found.sentence
    permitting = policy("defaults: {action: deny}\nrules: [{id: ok, when: {artifact: '*'}, effect: allow, mode: audit}]\n")
    assert (judge(permitting, "acme/x#m").effect, judge(permitting, "acme/x#m").would) == (Effect.DENY, Effect.ALLOW)


def test_a_hold_until_scanned_says_what_it_waits_for():
    """The sentence names file, verdict and finding; what it waits for is the hub's scan, unless somebody must release it."""
    when = {"scan": {"none": ["safe"]}}
    waiting = judge(rule(when, "quarantine"), "acme/x#w/a.bin", scan=Fact("queued", "JFrog"))
    assert waiting.sentence == "Held by policy rule 'r': w/a.bin of acme/x is still being scanned by its hub; held until the hub has scanned it."
    found = judge(rule(when, "quarantine"), "acme/x#a.bin", scan=Fact("unsafe", "virus scanner: Eicar"))
    assert found.sentence == (
        "Held by policy rule 'r': a.bin of acme/x was found unsafe by its hub's scan (virus scanner: Eicar); held until the hub's scan says otherwise."
    )
    assert judge(rule(when, "quarantine", release="manual"), "acme/x#a.bin", scan="unscanned").sentence.endswith("; held until it is released.")
    denied = judge(rule(when), "acme/x#a.bin", scan="error")
    assert denied.sentence == "Blocked by policy rule 'r': a.bin of acme/x could not be scanned by its hub."


def test_a_young_file_that_is_not_scanned_waits_for_both():
    """A date is promised only where nothing but the age holds a file."""
    two = policy("rules: [{id: s, when: {scan: {none: [safe]}}, effect: quarantine}, {id: a, when: {age_days: {lt: 7}}, effect: quarantine}]")
    held = judge(two, "acme/x#a.bin", scan="queued", published_at=NOW - timedelta(days=1))
    assert held.available_from is None
    assert "held until the hub has scanned it" in held.sentence
