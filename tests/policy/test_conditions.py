"""Each condition, operator and key of a rule: when it holds, when it does not, and when nobody knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.facts import Fact
from mirror.core.nouns import FileKind
from tests.policy.builders import NOW, judge, policy, rule

YES, NO, REVIEW, WARN = Effect.DENY, Effect.ALLOW, Effect.REVIEW, Effect.WARN
HF, PYPI = "acme/x#model.safetensors", "pkg:pypi/acme-lib@2.0?file_name=a.whl"
US, RU = Actor("a", country="US"), Actor("a", country="RU")

CASES = [
    # origin: the publisher's and every ancestor's countries
    ({"origin": ["GB"]}, HF, {}, YES), ({"origin": "gb"}, HF, {}, YES), ({"origin": ["CN"]}, HF, {}, NO), ({"origin": "EU"}, HF, {}, NO),
    ({"origin": ["CN"]}, "stranger/x#m.gguf", {}, REVIEW),
    ({"origin": ["CN"]}, "stranger/x#m.gguf", {"chain": [("globex/base", "quantized")]}, YES),
    ({"origin": ["CN"]}, "initech/tuned#m.gguf", {}, YES),  # by the shipped lineage: the card declares nothing
    ({"origin": ["US"]}, "packer/x#m.gguf", {"chain": [("globex/base", "quantized")]}, NO),  # a repackager adds no country
    ({"origin": ["US"]}, "packer/x#m.gguf", {}, REVIEW),
    ({"origin": ["CN"]}, "vague/x#m.gguf", {}, REVIEW),  # known with grade C only, B is wanted
    ({"origin": {"all": ["GB", "US"]}}, HF, {}, YES), ({"origin": {"none": ["CN"]}}, HF, {}, YES), ({"origin": {"not_in": ["GB"]}}, HF, {}, NO),
    ({"origin": {"not_in": ["GB"]}}, HF, {"chain": [("globex/base", "merge")]}, YES),
    ({"origin": ["RU"]}, HF, {"origin": ("RU",)}, YES),
    ({"origin": ["CN"]}, "acme/x#m", {"chain": [("gone/model", "finetune")]}, REVIEW),
    # publisher
    ({"publisher": "ACME"}, HF, {}, YES), ({"publisher": ["acme-research"]}, HF, {}, NO), ({"publisher": "huggingface:acme"}, HF, {}, YES),
    ({"publisher": "pypi:acme"}, HF, {}, YES), ({"publisher": "acme"}, PYPI, {}, YES), ({"publisher": "acme-research"}, PYPI, {}, YES),
    ({"publisher": "github:acme"}, HF, {}, NO), ({"publisher": "entity:Acme Labs"}, HF, {}, YES), ({"publisher": "entity:acme labs ltd"}, HF, {}, YES),
    ({"publisher": "entity:Globex Group"}, HF, {}, NO), ({"publisher": "entity:globex"}, "globex/x#m", {}, YES),
    ({"publisher": "entity:acme"}, "stranger/x#m", {}, REVIEW), ({"publisher": "acme"}, "stranger/x#m", {}, NO), ({"publisher": "ac*"}, HF, {}, YES),
    ({"publisher": {"not_in": ["acme", "entity:globex"]}}, "initech/x#m", {}, YES), ({"publisher": {"not_in": ["acme"]}}, HF, {}, NO),
    ({"publisher.country": ["GB"]}, HF, {}, YES), ({"publisher.country": ["CN"]}, HF, {"chain": [("globex/base", "merge")]}, NO),
    ({"publisher.country": ["CN"]}, "stranger/x#m", {}, REVIEW), ({"publisher.country": ["CN"]}, "nowhere/x#m", {}, REVIEW),
    # ancestor
    ({"ancestor": ["globex/*"]}, HF, {"chain": [("mid/x", "finetune"), ("globex/base", "merge")]}, YES),
    ({"ancestor": ["globex/*"]}, HF, {}, NO), ({"ancestor": ["globex/*"]}, "stranger/x#m", {}, WARN),
    ({"ancestor": {"any": ["globex/*"], "relations": ["quantized"]}}, HF, {"chain": [("globex/base", "merge")]}, NO),
    ({"ancestor": {"any": ["globex/*"], "relations": ["quantized"]}}, HF, {"chain": [("globex/base", "unknown")]}, YES),
    ({"ancestor": {"any": ["globex/*"], "min_confidence": 0.95}}, "initech/tuned#m", {}, NO),
    ({"ancestor": {"any": ["globex/*"], "min_confidence": 0.6}}, "initech/tuned#m", {}, YES),
    ({"ancestor": ["globex/*"]}, PYPI, {}, NO),
    # names and files
    ({"artifact": "ACME/*"}, HF, {}, YES), ({"artifact": "pkg:pypi/Acme_Lib"}, PYPI, {}, YES), ({"artifact": "acme.lib@2.0"}, PYPI, {}, YES),
    ({"artifact": "pkg:pypi/acme-lib@1.0"}, PYPI, {}, NO), ({"artifact": "pkg:huggingface/acme/x#*.bin"}, HF, {}, NO),
    ({"artifact": "pkg:huggingface/acme/x?repo_type=dataset"}, HF, {}, NO), ({"artifact": {"not_in": ["acme/*"]}}, HF, {}, NO),
    ({"artifact": {"not_in": ["globex/*"]}}, HF, {}, YES),
    ({"file": "*.PKL"}, "acme/x#a/b.pkl", {}, YES), ({"file": ["config.json"]}, "acme/x#sub/config.json", {}, YES), ({"file": "*.pkl"}, "acme/x", {}, NO),
    ({"file": {"not_in": ["*.safetensors", "*.json"]}}, HF, {}, NO), ({"file": {"not_in": ["*.json"]}}, HF, {}, YES),
    ({"kind": "weights"}, HF, {"file_kind": FileKind.WEIGHTS}, YES), ({"kind": ["code", "data"]}, HF, {"file_kind": FileKind.WEIGHTS}, NO),
    ({"kind": "weights"}, HF, {}, REVIEW), ({"kind": "weights"}, "acme/x", {}, NO),
    ({"type": "model"}, HF, {}, YES), ({"type": "package"}, PYPI, {}, YES), ({"type": "dataset"}, HF, {}, NO),
    ({"ecosystem": "pypi"}, PYPI, {}, YES), ({"ecosystem": "pypi"}, HF, {}, NO),
    # facts
    ({"age_days": {"lt": 7}}, PYPI, {"published_at": NOW - timedelta(days=6)}, YES), ({"age_days": {"lt": 7}}, PYPI, {"published_at": NOW - timedelta(days=7)}, NO),
    ({"age_days": {"lte": 7}}, PYPI, {"published_at": NOW - timedelta(days=7)}, YES), ({"age_days": {"gt": 7}}, PYPI, {"published_at": NOW - timedelta(days=7)}, NO),
    ({"age_days": {"gte": 7}}, PYPI, {"published_at": NOW - timedelta(days=7)}, YES), ({"age_days": {"lt": 7}}, PYPI, {}, REVIEW),
    ({"size": {"gt": "1KiB"}}, HF, {"size": 1025}, YES), ({"size": {"gt": "1KiB"}}, HF, {"size": 1024}, NO), ({"size": {"lte": 1024}}, HF, {"size": 1024}, YES), ({"size": {"gt": 1}}, HF, {}, REVIEW),
    ({"license": "CC-BY-NC-4.0"}, HF, {"license": ("cc-by-nc-4.0",)}, YES), ({"license": "cc-by-nc-*"}, HF, {"license": ("cc-by-nc-4.0",)}, YES),
    ({"license": "gpl-3.0"}, HF, {"license": ("MIT OR GPL-3.0",)}, NO), ({"license": "gpl-3.0"}, HF, {"license": ("MIT AND GPL-3.0",)}, YES),
    ({"license": "gpl-2.0"}, HF, {"license": ("GPL-2.0 WITH Classpath-exception-2.0",)}, YES), ({"license": "unknown"}, HF, {}, YES),
    ({"license": "unknown"}, HF, {"license": ("mit",)}, NO), ({"license": "mit"}, HF, {}, WARN), ({"license": {"not_in": ["mit"]}}, HF, {"license": ("gpl-3.0",)}, YES),
    ({"license": {"not_in": ["mit"]}}, HF, {"license": ("GPL-3.0 OR MIT",)}, NO),
    ({"gated": "manual"}, HF, {"gated": "manual"}, YES), ({"gated": True}, HF, {"gated": "auto"}, YES), ({"gated": False}, HF, {"gated": "auto"}, NO), ({"gated": True}, PYPI, {}, NO), ({"gated": True}, HF, {}, REVIEW),
    ({"yanked": True}, PYPI, {"yanked": True}, YES), ({"yanked": True}, PYPI, {"yanked": False}, NO), ({"yanked": True}, HF, {}, NO), ({"yanked": True}, PYPI, {}, REVIEW),
    ({"status": ["quarantined", "archived"]}, PYPI, {"status": "archived"}, YES), ({"status": "archived"}, PYPI, {"status": "active"}, NO), ({"status": "archived"}, PYPI, {}, REVIEW),
    ({"direct_url": True}, PYPI, {"direct_urls": ("https://evil.example/a",)}, YES), ({"direct_url": "*evil*"}, PYPI, {"direct_urls": ("https://ok.example/a",)}, NO),
    ({"direct_url": True}, PYPI, {"direct_urls": ()}, NO), ({"direct_url": True}, PYPI, {}, REVIEW),
    ({"attested": False}, PYPI, {"attested": ""}, YES), ({"attested": True}, PYPI, {"attested": "acme"}, YES), ({"attested": False}, PYPI, {}, WARN),
    ({"scan": "unsafe"}, HF, {"scan": "unsafe"}, YES), ({"scan": "unsafe"}, HF, {"scan": "safe"}, NO), ({"scan": "unsafe"}, HF, {}, WARN),
    ({"scan": {"none": ["safe"]}}, HF, {"scan": "queued"}, YES), ({"scan": {"none": ["safe"]}}, HF, {"scan": "safe"}, NO), ({"scan": {"not_in": ["safe", "caution"]}}, HF, {"scan": "caution"}, NO),
    ({"scan": {"none": ["safe"]}}, HF, {}, WARN), ({"scan": {"none": ["safe"]}}, HF.partition("#")[0], {}, NO),
    ({"vulnerability": "CVE-2026-*"}, PYPI, {"vulnerabilities": ("CVE-2026-1",)}, YES), ({"vulnerability": True}, PYPI, {"vulnerabilities": ()}, NO), ({"vulnerability": True}, PYPI, {}, WARN),
    # lists
    ({"list_match": ["house"]}, "globex/x#m", {}, YES), ({"list_match": ["house"]}, HF, {}, NO), ({"list_match": "house"}, "stranger/x#m", {}, REVIEW),
    ({"list_match": "house"}, "stranger/x#m", {"names": ("Listed Corporation",)}, YES), ({"list_match": "house"}, "subsidiary/x#m", {}, YES),
    ({"list_match": {"lists": ["house"], "ownership": {"aggregate_min": 0.5}}}, "subsidiary/x#m", {}, YES),
    ({"list_match": {"lists": ["house"], "ownership": {"aggregate_min": 0.7}}}, "subsidiary/x#m", {}, NO),
    # the client
    ({"client.country": ["RU"]}, HF, {"actor": RU}, YES), ({"client.country": {"not_in": ["US", "EU"]}}, HF, {"actor": US}, NO), ({"client.country": ["RU"]}, HF, {}, YES),
    ({"upstream.blocks_client": True}, HF, {"actor": RU, "blocked_countries": ("RU",)}, YES), ({"upstream.blocks_client": True}, HF, {"actor": US, "blocked_countries": ("RU",)}, NO),
    ({"upstream.blocks_client": True}, HF, {"blocked_countries": ("RU",)}, YES), ({"upstream.blocks_client": True}, HF, {"blocked_countries": ()}, NO), ({"upstream.blocks_client": True}, HF, {"blocked_countries": ("*",)}, YES),
    ({"upstream.blocks_client": True}, HF, {}, WARN),
    # all conditions of a rule must hold; a plain no outweighs what is not known
    ({"ecosystem": "pypi", "publisher": "acme"}, HF, {}, NO), ({"kind": "weights", "client.country": ["RU"]}, HF, {"file_kind": FileKind.CODE}, NO),
]


@pytest.mark.parametrize(("when", "artifact", "facts", "effect"), CASES, ids=[f"{n}-{next(iter(case[0]))}" for n, case in enumerate(CASES)])
def test_a_condition_holds_or_not_or_is_unknown(when, artifact, facts, effect):
    """A deny rule with this one condition gives this effect on this artifact with these facts."""
    assert judge(rule(when), artifact, **facts).effect is effect


KEYS = [
    ({"for": {"groups": ["staff"]}}, Actor("a", ("staff",)), YES), ({"for": {"groups": ["staff"]}}, Actor("a"), NO), ({"for": {"not_groups": ["staff"]}}, Actor("a", ("staff",)), NO),
    ({"for": {"networks": ["10.0.0.0/8"]}}, Actor("a", address="10.1.2.3"), YES), ({"for": {"networks": ["10.0.0.0/8"]}}, Actor("a", address="::ffff:10.1.2.3"), YES),
    ({"for": {"networks": ["10.0.0.0/8"]}}, Actor("a", address="192.0.2.1"), NO), ({"applies_to": ["EU"]}, Actor("a", jurisdictions=("DE",)), YES), ({"applies_to": ["EU"]}, Actor("a", jurisdictions=("US",)), NO),
    ({"applies_to": ["EU"]}, Actor("a"), YES), ({"from": "2026-11-23"}, Actor("a"), NO), ({"from": "2026-11-22"}, Actor("a"), YES), ({"until": "2026-11-22"}, Actor("a"), NO),
    ({"from": "2026-11-22", "timezone": "Pacific/Kiritimati"}, Actor("a"), YES), ({"from": "2026-11-22T13:00:00Z"}, Actor("a"), NO), ({"until": "2026-11-23", "timezone": "America/New_York"}, Actor("a"), YES),
]


@pytest.mark.parametrize(("keys", "actor", "effect"), KEYS)
def test_a_rule_binds_only_whom_and_when_it_says(keys, actor, effect):
    """`for`, `applies_to`, `from`, `until` and `timezone` bound a rule that holds for everything."""
    for key in ("from", "until"):
        if key in keys:
            moment = keys[key]
            keys = {**keys, key: moment if "T" not in moment else datetime.fromisoformat(moment).isoformat()}
    if any("T" in str(keys.get(key, "")) for key in ("from", "until")):
        the_policy = policy(f"rules: [{{id: r, when: {{artifact: '*'}}, effect: deny, from: {keys['from']}}}]")
    else:
        the_policy = rule({"artifact": "*"}, **keys)
    assert judge(the_policy, HF, actor=actor).effect is effect


def test_norway_is_not_false():
    """An unquoted NO in a list of countries is Norway."""
    verdict = judge(policy("rules: [{id: r, when: {client.country: [NO, SE]}, effect: deny}]"), HF, actor=Actor("a", country="NO"))
    assert verdict.effect is Effect.DENY


def test_the_strongest_enforced_effect_wins_and_audit_rules_only_say_what_they_would():
    """deny > quarantine > review > warn; a rule in audit mode shows in `would` alone."""
    text = "rules:\n" + "".join(f"  - {{id: {e}, when: {{artifact: '*'}}, effect: {e}, mode: {m}}}\n" for e, m in [("warn", "enforce"), ("quarantine", "enforce"), ("review", "enforce"), ("deny", "audit")])
    verdict = judge(policy(text), HF)
    assert (verdict.effect, verdict.would) == (Effect.QUARANTINE, Effect.DENY)
    assert [hit.id for hit in verdict.rules][0] == "quarantine"


def test_a_weak_match_of_any_strength_is_for_review():
    """Evidence below `min_confidence` turns deny into review, leaves warn a warning, and permits nothing."""
    weak = {"publisher_countries": Fact(("CN",), "t", "C"), "publisher": Fact(None)}
    for effect, expected in (("deny", Effect.REVIEW), ("warn", Effect.WARN)):
        assert judge(rule({"publisher.country": ["CN"]}, effect), HF, **weak).effect is expected
    assert judge(rule({"publisher.country": ["CN"]}, min_confidence="C"), HF, **weak).effect is Effect.DENY
    closed = rule({"publisher.country": ["CN"]}, "allow", top={"defaults": {"action": "deny"}})
    assert judge(closed, HF, **weak).effect is Effect.DENY


INHERITED = [
    ({"publisher": ["globex"]}, "stranger/x#m", [("mid/a", "finetune"), ("globex/base", "merge")], Effect.DENY),
    ({"artifact": ["globex/base"]}, HF, [("globex/base", "adapter")], Effect.DENY),
    ({"publisher.country": ["CN"]}, HF, [("globex/base", "adapter")], Effect.DENY),
    ({"list_match": ["house"]}, HF, [("globex/base", "adapter")], Effect.DENY),
    ({"publisher": ["globex"], "file": "*.pkl"}, HF, [("globex/base", "adapter")], Effect.ALLOW),
    ({"publisher": ["globex"]}, HF, [], Effect.ALLOW),
    ({"publisher": ["globex"]}, "stranger/x#m", [], Effect.WARN),
]


@pytest.mark.parametrize(("when", "artifact", "chain", "effect"), INHERITED)
def test_an_inherited_rule_holds_for_everything_derived(when, artifact, chain, effect):
    """`lineage: inherit` asks the identity conditions of each ancestor, and is unknown where the lineage is."""
    assert judge(rule(when, lineage="inherit"), artifact, chain=chain).effect is effect


SENTENCES = [
    (rule({"origin": ["CN"]}, suggest=["mistralai/small"]), "globex/R1#m", {}, "Blocked by policy rule 'r': globex/R1 is published by Globex (CN). Permitted instead: mistralai/small."),
    (rule({"origin": ["CN"]}), "someone/some-GGUF#m", {"chain": [("globex/base", "quantized")]}, "Blocked by policy rule 'r': someone/some-GGUF is quantized from globex/base, published by Globex (CN)."),
    (rule({"publisher": ["globex"]}, lineage="inherit"), "a/b#m", {"chain": [("c/d", "merge"), ("globex/base", "finetune")]}, "Blocked by policy rule 'r': a/b is a merge of c/d, a finetune of globex/base, published by Globex (CN)."),
    (rule({"ecosystem": "pypi", "age_days": {"lt": 7}}, "quarantine"), PYPI, {"published_at": datetime(2026, 11, 20, tzinfo=UTC)}, "Held by policy rule 'r': acme-lib 2.0 was published 2026-11-20; available from 2026-11-27."),
    (rule({"ecosystem": "pypi", "age_days": {"lt": 7}}, "quarantine", release="manual"), PYPI, {"published_at": NOW}, "Held by policy rule 'r': acme-lib 2.0 was published 2026-11-22; held until it is released."),
    (rule({"file": "*.pkl"}), "acme/x#w.pkl", {}, "Blocked by policy rule 'r': w.pkl of acme/x matches '*.pkl'."),
    (rule({"artifact": "*"}, reason="use the house's own."), HF, {}, "Blocked by policy rule 'r': acme/x: use the house's own."),
    (rule({"artifact": "zzz/*"}, "allow", top={"defaults": {"action": "deny"}}), HF, {}, "Blocked by the policy's default: acme/x is permitted by no rule."),
    (rule({"license": "unknown"}, "warn"), HF, {}, "Warning by policy rule 'r': acme/x states no licence."),
    (rule({"artifact": "zzz/*"}), HF, {}, "Permitted: no rule objects to acme/x."),
    (rule({"artifact": "*"}, reason="深度\n求索 été ž"), HF, {}, "Blocked by policy rule 'r': acme/x: ?? ?? été z."),
]


@pytest.mark.parametrize(("the_policy", "artifact", "facts", "sentence"), SENTENCES)
def test_the_sentence_names_rule_thing_cause_and_alternative(the_policy, artifact, facts, sentence):
    """The sentence is exactly this, and fits a latin-1 header line."""
    found = judge(the_policy, artifact, **facts).sentence
    assert found == sentence
    assert found.encode("latin-1").isascii() or "été" in found


def test_rules_in_force_say_which_facts_they_read():
    """`needs` names the facts of the conditions and, for inherited rules, the lineage."""
    assert rule({"license": "mit"}).needs == {"license"}
    assert {"ancestors", "lineage", "publisher"} <= rule({"publisher": "acme"}, lineage="inherit").needs
    assert rule({"client.country": "US"}).needs == {"client_country"}
    # A rule about one ecosystem asks nothing of the other's hub.
    one = rule({"ecosystem": "huggingface", "license": "mit"})
    assert one.needs_by_ecosystem == {"huggingface": {"license"}, "pypi": frozenset()}
    other = rule({"ecosystem": {"not_in": ["pypi"]}, "license": "mit"})
    assert other.needs_by_ecosystem["huggingface"] == {"license"}
