"""What must hold of every policy, artifact and moment."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import Artifact, FileKind, Kind, Project
from mirror.core.purl import parse_artifact, parse_loose
from mirror.policy.derive import derive
from mirror.policy.evaluate import rule_on, ruled
from mirror.policy.patterns import PatternSet, parse_pattern
from mirror.policy.subject import ON_UNKNOWN, Subject
from tests.policy.builders import CATALOGUE, LINEAGE, NOW, edges, judge, policy

FEW = settings(max_examples=60, deadline=None, derandomize=True)
#: For properties whose interesting cases are rare among all combinations.
MORE = settings(max_examples=400, deadline=None, derandomize=True)

ARTIFACTS = st.sampled_from([
    "acme/x#model.safetensors", "globex/base#w.bin", "stranger/y#m.gguf", "packer/q#m.gguf", "vague/v#x.pkl", "initech/tuned#a.json",
    "pkg:huggingface/acme/data?repo_type=dataset#a.parquet", "pkg:pypi/acme-lib@2.0?file_name=a.whl", "pkg:pypi/stranger@1?file_name=s.tar.gz", "acme/x",
])
CONDITIONS = st.sampled_from([
    {"origin": ["CN"]}, {"origin": {"none": ["EU", "US"]}}, {"publisher": ["acme", "entity:Globex"]}, {"publisher.country": {"not_in": ["US"]}},
    {"ancestor": ["globex/*"]}, {"artifact": ["acme/*", "pkg:pypi/stranger"]}, {"file": ["*.pkl", "*.gguf"]}, {"kind": "weights"},
    {"type": ["dataset"]}, {"ecosystem": "pypi"}, {"age_days": {"lt": 7}}, {"age_days": {"gte": 3, "lte": 9}}, {"license": ["mit", "unknown"]},
    {"gated": True}, {"yanked": True}, {"status": ["archived"]}, {"size": {"gt": "1MiB"}}, {"direct_url": True}, {"list_match": ["house"]},
    {"client.country": {"not_in": ["US"]}}, {"attested": False}, {"scan": ["unsafe"]}, {"scan": {"none": ["safe"]}}, {"vulnerability": ["CVE-*"]}, {"upstream.blocks_client": True},
    {"publisher.country": ["CN"]}, {"publisher": ["entity:Globex"]}, {"client.country": ["RU"]}, {"gated": "manual"},
    {"kind": "weights", "client.country": ["RU"]}, {"ecosystem": "pypi", "age_days": {"lt": 30}},
])
INHERITABLE = {"publisher", "publisher.country", "artifact", "list_match"}
DATES = st.sampled_from([None, "2026-11-01", "2026-11-22", "2026-12-01", "2027-03-01"])
EFFECTS = st.sampled_from(["deny", "quarantine", "review", "warn"])


@st.composite
def rules(draw, *, effects=EFFECTS, prefix="r"):
    made = []
    for number in range(draw(st.integers(0, 4))):
        rule = {"id": f"{prefix}{number}", "when": draw(CONDITIONS), "effect": draw(effects), "mode": draw(st.sampled_from(["enforce", "enforce", "audit"]))}
        since, until = draw(DATES), draw(DATES)
        if since:
            rule["from"] = since
        if until and (not since or since < until):
            rule["until"] = until
        if not INHERITABLE.isdisjoint(rule["when"]) and draw(st.booleans()):
            rule["lineage"] = "inherit"
        if draw(st.integers(0, 3)) == 0:
            rule["on_unknown"] = draw(st.sampled_from(["allow", "warn", "review", "deny"]))
        if draw(st.integers(0, 3)) == 0:
            rule["for"] = {"groups": ["staff"]}
        made.append(rule)
    return made


@st.composite
def situations(draw):
    artifact = draw(ARTIFACTS)
    facts = {}
    optional = {
        "published_at": st.datetimes(datetime(2026, 10, 20), datetime(2026, 11, 25)).map(lambda moment: moment.replace(tzinfo=UTC)),
        "license": st.sampled_from([("mit",), ("gpl-3.0",), ()]), "size": st.sampled_from([1, 2**30]), "gated": st.sampled_from(["false", "manual"]),
        "yanked": st.booleans(), "status": st.sampled_from(["active", "archived"]), "direct_urls": st.sampled_from([(), ("https://x.example/a",)]),
        "attested": st.sampled_from(["", "acme"]), "scan": st.sampled_from(["safe", "queued", "unsafe"]), "vulnerabilities": st.sampled_from([(), ("CVE-1",)]),
        "blocked_countries": st.sampled_from([(), ("RU",)]), "file_kind": st.sampled_from([FileKind.WEIGHTS, FileKind.CODE]),
    }
    for name, strategy in optional.items():
        if draw(st.booleans()):
            facts[name] = draw(strategy)
    chain = draw(st.sampled_from([(), (("globex/base", "finetune"),), (("stranger/z", "merge"), ("acme/x2", "adapter")), (("packer/z", "quantized"),)]))
    actor = Actor("a", draw(st.sampled_from([(), ("staff",)])), "10.0.0.1", draw(st.sampled_from([None, "US", "RU"])))
    return artifact, facts, actor, chain


def build(made, **top):
    return policy(json.dumps({"version": 1, "rules": made, **top}))


def ask(the_policy, situation, now=NOW):
    artifact, facts, actor, chain = situation
    return judge(the_policy, artifact, actor=actor, now=now, chain=chain if artifact.count("/") == 1 else (), **facts)


@FEW
@given(rules(), CONDITIONS, situations())
def test_one_more_deny_rule_never_serves_what_was_refused(made, when, situation):
    """Adding a deny rule can only make the effect stronger, whatever the rule reads."""
    before = ask(build(made), situation)
    after = ask(build([*made, {"id": "extra", "when": when, "effect": "deny"}]), situation)
    assert after.effect >= before.effect
    assert after.would >= before.would


@FEW
@given(situations(), st.sampled_from(["acme/*", "pkg:pypi/*", "*x*", "globex/base"]), st.booleans())
def test_default_deny_with_one_permission_serves_that_and_nothing_else(situation, pattern, warned):
    """Under `action: deny`, an allow rule on names serves exactly the artifacts it names, whatever else holds."""
    others = [{"id": "w", "when": {"artifact": "*"}, "effect": "warn"}] if warned else []
    the_policy = build([{"id": "ok", "when": {"artifact": pattern}, "effect": "allow"}, *others], defaults={"action": "deny"})
    artifact = parse_artifact(situation[0] if situation[0].startswith("pkg:") else f"pkg:huggingface/{situation[0]}")
    project = artifact.project
    named = PatternSet([parse_pattern(pattern)]).find(project.ecosystem, project.kind, project.name.casefold(), "", artifact.path.casefold())
    served = Effect.WARN if warned else Effect.ALLOW
    assert ask(the_policy, situation).effect is (served if named else Effect.DENY)


@FEW
@given(CONDITIONS, situations())
def test_an_unknown_fact_never_permits_by_itself(when, situation):
    """Under `action: deny`, a permission whose condition is not certain does not serve."""
    the_policy = build([{"id": "ok", "when": when, "effect": "allow"}], defaults={"action": "deny", "on_unknown": dict.fromkeys(ON_UNKNOWN, "allow")})
    verdict = ask(the_policy, situation)
    assert verdict.effect is Effect.DENY or [hit.unknown for hit in verdict.rules] == [""]


@FEW
@given(rules(), situations(), st.sampled_from(["acme/*", "stranger/*", "pkg:pypi/*"]), st.booleans())
def test_an_exception_lifts_its_rule_in_scope_and_time_only(made, situation, pattern, staff):
    """An exception changes nothing but hits of its rule, for its artifacts and groups, before it expires."""
    made = [{"id": "lifted", "when": {"artifact": "*"}, "effect": "deny"}, *made]
    scope = {"artifact": pattern, **({"groups": ["staff"]} if staff else {})}
    waived = [{"id": "EX-1", "rule": "lifted", "scope": scope, "reason": "r", "expires": "2026-11-25"}]
    plain, lifted = build(made), build(made, exceptions=waived)
    artifact = parse_artifact(situation[0] if situation[0].startswith("pkg:") else f"pkg:huggingface/{situation[0]}")
    project = artifact.project
    concerned = PatternSet([parse_pattern(pattern)]).find(project.ecosystem, project.kind, project.name, "", artifact.path) is not None
    concerned = concerned and (not staff or "staff" in situation[2].groups)
    for moment in (NOW, datetime(2026, 11, 24, 23, 59, 59, tzinfo=UTC), datetime(2026, 11, 25, tzinfo=UTC)):
        in_time = moment < datetime(2026, 11, 25, tzinfo=UTC)
        before, after = ask(plain, situation, moment), ask(lifted, situation, moment)
        assert before.effect is Effect.DENY
        if not (concerned and in_time):
            assert after.effect is Effect.DENY
            assert not any(hit.exception for hit in after.rules)
        else:
            assert [hit.id for hit in after.rules if hit.exception] == ["lifted"]
            assert after.effect is ask(build(made[1:]), situation, moment).effect


@FEW
@given(rules(), situations(), st.floats(0, 0.999999), st.booleans())
def test_a_verdict_holds_until_its_valid_until(made, situation, fraction, permits):
    """At every moment before `valid_until` (a century where there is none) the same question has the same answer."""
    the_policy = build(made, defaults={"action": "allow" if permits else "deny"})
    verdict = ask(the_policy, situation)
    end = verdict.valid_until or NOW + timedelta(days=36_500)
    assert end > NOW
    later = ask(the_policy, situation, NOW + (end - NOW) * fraction)
    assert (later.effect, later.would, [(h.id, h.effect) for h in later.rules]) == (verdict.effect, verdict.would, [(h.id, h.effect) for h in verdict.rules])


@FEW
@given(st.sampled_from(["lt", "lte", "gt", "gte"]), st.integers(0, 30), st.timedeltas(timedelta(0), timedelta(40)), st.floats(0, 0.999999))
def test_a_verdict_on_an_age_holds_until_its_valid_until(word, days, age, fraction):
    """For every comparison of an age: the same answer until `valid_until`, and another one from then on."""
    the_policy = build([{"id": "r", "when": {"age_days": {word: days}}, "effect": "quarantine"}])
    situation = ("pkg:pypi/stranger@1?file_name=s.whl", {"published_at": NOW - age}, Actor("a"), ())
    verdict = ask(the_policy, situation)
    if verdict.valid_until is None:
        assert ask(the_policy, situation, NOW + timedelta(days=36_500)).effect is verdict.effect
    else:
        assert ask(the_policy, situation, NOW + (verdict.valid_until - NOW) * fraction).effect is verdict.effect
        assert ask(the_policy, situation, verdict.valid_until).effect is not verdict.effect


@FEW
@given(CONDITIONS, situations(), DATES.filter(bool), st.timedeltas(timedelta(-30), timedelta(30)), st.booleans())
def test_a_rule_counts_from_its_first_instant_until_its_last(when, situation, day, offset, begins):
    """Inside its dates a rule does what it does without dates; outside it, what no rule does. `from` is in, `until` out."""
    edge = datetime.fromisoformat(day).replace(tzinfo=UTC)
    rule = {"id": "r", "when": when, "effect": "deny"}
    dated, always = build([{**rule, ("from" if begins else "until"): day}]), build([rule])
    for moment in (edge + offset, edge, edge - timedelta(microseconds=1)):
        expected = ask(always, situation, moment) if (moment >= edge) is begins else ask(build([]), situation, moment)
        found = ask(dated, situation, moment)
        assert (found.effect, found.rules) == (expected.effect, expected.rules)


@FEW
@given(CONDITIONS, situations(), st.sampled_from(["allow", "warn", "review", "deny"]))
def test_what_is_not_known_gets_exactly_what_on_unknown_says(when, situation, word):
    """Wherever a rule's outcome depends on an unknown fact, the rule's `on_unknown` is the effect; elsewhere it changes nothing."""
    rule = {"id": "r", "when": when, "effect": "deny"}
    strict = ask(build([rule], defaults={"on_unknown": dict.fromkeys(ON_UNKNOWN, "deny")}), situation)
    verdict = ask(build([{**rule, "on_unknown": word}]), situation)
    if any(hit.unknown for hit in strict.rules):
        assert verdict.effect is Effect[word.upper()]
    else:
        assert (verdict.effect, verdict.rules) == (strict.effect, strict.rules)


def both_ways(made, situation):
    """What the rules `made` find with the index, and what asking every rule in turn finds."""
    the_policy = build(made)
    artifact, facts, actor, chain = situation
    thing = parse_loose(artifact)
    stated = Facts(**{name: Fact(value) for name, value in facts.items()})
    if thing.project.kind is Kind.MODEL:
        stated = replace(stated, ancestors=edges(artifact, *chain))
    subject = Subject(thing, derive(stated, thing, CATALOGUE, LINEAGE), actor, NOW)
    slow = []
    for rule in the_policy.rules:
        held = rule.judge(subject) if rule.active(NOW) and rule.binds(actor) else None
        ruling = None if held is None else ruled(the_policy, rule, held, subject)
        slow += [] if ruling is None else [ruling.hit]
    return [ruling.hit for ruling in rule_on(the_policy, subject)], slow


@MORE
@given(rules(), situations())
def test_the_index_leaves_nothing_out(made, situation):
    """Asking every rule in turn, without the index, finds exactly what the verdict finds, for the same causes."""
    found, slow = both_ways(made, situation)
    assert found == slow


@pytest.mark.parametrize("artifact", ARTIFACTS.elements)
def test_the_index_agrees_on_every_condition_where_nothing_is_known(artifact):
    """Each condition as a rule of its own, inherited too where it can be, finds the same hit for the same missing fact."""
    made = [{"id": f"r{n}", "when": when, "effect": "deny"} for n, when in enumerate(CONDITIONS.elements)]
    made += [{**rule, "id": f"i{rule['id']}", "lineage": "inherit"} for rule in made if not INHERITABLE.isdisjoint(rule["when"])]
    for chain in ((), (("stranger/z", "merge"), ("globex/base", "finetune"))):
        found, slow = both_ways(made, (artifact, {}, Actor("a"), chain if artifact.count("/") == 1 else ()))
        assert found == slow


NAME = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="/"), min_size=1, max_size=8).filter(lambda text: text not in (".", ".."))


@FEW
@given(NAME, NAME, st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=8), st.lists(NAME, max_size=3), st.sampled_from([k for k in Kind if k is not Kind.PACKAGE]))
def test_every_hugging_face_artifact_reads_back(owner, name, revision, path, kind):
    """`parse_artifact(str(a)) == a` for any names, revision and path, however odd."""
    artifact = Artifact(Project("huggingface", kind, f"{owner}/{name}"), revision, "/".join(path))
    assert parse_artifact(str(artifact)) == artifact


@FEW
@given(st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True), st.from_regex(r"[0-9]+(\.[0-9]+)*(rc1|\+cpu|!1)?", fullmatch=True), NAME)
def test_every_pypi_artifact_reads_back(name, version, file):
    """`parse_artifact(str(a)) == a` for normalised names, versions with epochs and local parts, and file names."""
    artifact = Artifact(Project("pypi", Kind.PACKAGE, name), version, file)
    assert parse_artifact(str(artifact)) == artifact


PIECE = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=6).map(str.strip).filter(lambda text: text and ":" not in text)


@FEW
@given(st.lists(PIECE | st.just("*"), min_size=1, max_size=4), st.sampled_from(["", "pkg:huggingface/"]), PIECE | st.none(), PIECE | st.none())
def test_every_pattern_reads_back(pieces, scheme, version, path):
    """A parsed pattern, written out, parses to the same pattern."""
    from urllib.parse import quote

    text = scheme + "".join("*" if piece == "*" else quote(piece) for piece in pieces)
    text += (f"@{quote(version)}" if version else "") + (f"#{quote(path)}" if path else "")
    first = parse_pattern(text)
    again = parse_pattern(str(first))
    assert (again.ecosystem, again.kind, again.name, again.version, again.path) == (first.ecosystem, first.kind, first.name, first.version, first.path)


@FEW
@given(NAME, NAME)
def test_a_name_matches_itself_and_its_own_star(owner, name):
    """An artifact's own package URL is a pattern that matches it, and so is its owner with a star."""
    project = Project("huggingface", Kind.MODEL, f"{owner}/{name}")
    folded = project.name.casefold()
    from urllib.parse import quote

    for text in (str(project).replace("*", "%2A"), f"pkg:huggingface/{quote(owner, safe='')}/*"):
        assert PatternSet([parse_pattern(text)]).find("huggingface", Kind.MODEL, folded, "abc", "a/b") is not None
