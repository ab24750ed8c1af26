"""How long one judgement takes: 300 rules of every kind and a denylist of 100,000 names, on artifacts never seen before.

Run: `python -m bench.policy_evaluate`. No verdict, fact or lineage is kept between two calls. What a policy does remember
are the answers of lists, by name: the first sight of a name is measured apart, and so is the look-up of a kept verdict.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta

from bench.contest.machine import moment
from mirror.core.actor import Actor
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import FileKind
from mirror.core.purl import parse_loose
from mirror.policy import conditions, identity, listed, measures
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage
from mirror.policy.screening import ListEntry, ScreeningList
from tests.policy.builders import WORLD, edges, publisher

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ACTOR = Actor("bench", ("team-1", "staff"), "10.0.0.1", "US", jurisdictions=("US",))
COUNTRIES = ["RU", "IR", "KP", "SY", "CU", "BY", "VE", "MM", "SD", "AF"]
COUNT = 3_000
LISTED = 5_000
#: Every condition of the grammar, in the ways in which it is written; each twelve times.
KINDS = [
    lambda n: {"origin": [COUNTRIES[n % 10]]},
    lambda n: {"origin": {"all": ["CN", COUNTRIES[n % 10]]}},
    lambda n: {"publisher.country": {"any": [COUNTRIES[n % 10]]}},
    lambda n: {"publisher": [f"denied-{n}", f"huggingface:also-denied-{n}"]},
    lambda n: {"publisher": [f"entity:company-{n}"]},
    lambda n: {"artifact": [f"pkg:pypi/evil-{n}-*", f"pkg:huggingface/*/*-variant-{n}*"]},
    lambda n: {"ancestor": {"any": [f"forbidden-{n}/*"], "relations": ["finetune", "quantized"], "min_confidence": 0.6}},
    lambda n: {"list_match": {"lists": ["house"], "hit": 0.9 + n / 1000, "review": 0.8}},
    lambda n: {"list_match": {"lists": ["house"], "ownership": {"aggregate_min": 0.5, "unknown": "review"}}, "kind": "weights"},
    lambda n: {"license": [f"cc-by-nc-{n}.0", "agpl-3.0"]},
    lambda n: {"file": [f"*.bad{n}", "*.pkl"]},
    lambda n: {"kind": "weights", "client.country": {"not_in": ["US", "EU"]}},
    lambda n: {"ecosystem": "pypi", "age_days": {"lt": n + 1}},
    lambda n: {"type": "dataset", "size": {"gt": f"{n + 1}GiB"}},
    lambda n: {"size": {"gt": 10**12 + n}},
    lambda n: {"gated": ["manual"], "type": "model"},
    lambda n: {"yanked": True},
    lambda n: {"status": ["quarantined", "disabled"]},
    lambda n: {"direct_url": ["*evil.example*"], "ecosystem": "pypi"},
    lambda n: {"attested": False, "publisher": [f"must-attest-{n}"]},
    lambda n: {"scan": ["unsafe", f"scanner-{n}-*"]},
    lambda n: {"vulnerability": [f"CVE-20{10 + n}-*"]},
    lambda n: {"upstream.blocks_client": True, "type": "model"},
    lambda n: {"publisher": [f"inherited-{n}"]},
    lambda n: {"artifact": [f"base-{n}/*"]},
]
INHERITED = (len(KINDS) - 2, len(KINDS) - 1)


def build():
    """(policy, catalogue, lineage, seconds that compiling took)."""
    rules = [_rule(kind, n) for kind in range(len(KINDS)) for n in range(12)]
    used = {key for rule in rules for key in rule["when"]}
    known = {*conditions.BUILDERS, *identity.BUILDERS, *listed.BUILDERS, *measures.BUILDERS}
    if known - used:
        raise SystemExit(f"conditions without a rule: {sorted(known - used)}")
    denied = [f"pkg:huggingface/denied-org-{n % 977}/model-{n}" for n in range(100_000)]
    rules.append({"id": "denylist", "when": {"artifact": denied}, "effect": "deny"})
    waived = [{"id": f"EX-{n}", "rule": f"r-0-{n}", "scope": {"artifact": f"initech/model-{n}"}, "reason": "r", "expires": "2027-01-01"} for n in range(4)]
    text = json.dumps({"version": 1, "rules": rules, "exceptions": waived})
    more = [publisher(f"company-{n}", f"Company Number {n}", "DE") for n in range(12)]
    catalogue = Catalogue.build([Stated(one, confidence="A") for one in (*WORLD, *more)])
    lineage = Lineage.build([])
    started = time.perf_counter()
    policy = compile_policy([("policy.yaml", text)], catalogue, lineage, {"house": house()})
    return policy, catalogue, lineage, time.perf_counter() - started


def _rule(kind, n):
    rule = {"id": f"r-{kind}-{n}", "when": KINDS[kind](n), "effect": ("deny", "review", "warn", "quarantine")[n % 4]}
    if kind in INHERITED:
        rule["lineage"] = "inherit"
    if n % 6 == 0:
        rule["for"] = {"groups": [f"team-{n % 3}"], "not_groups": ["nobody"]}
    if n % 6 == 1:
        rule["for"] = {"networks": ["10.0.0.0/8", "2001:db8::/32"]}
    if n % 6 == 2:
        rule |= {"from": "2026-01-01", "until": "2027-06-01", "legal": True, "basis": "law"}
    if n % 6 == 3:
        rule |= {"mode": "audit", "applies_to": ["US", "EU"]}
    return rule


def house():
    words = "Northern Southern Eastern Western Blue Red Green Silver Golden Iron Steel River Harbour Falcon Eagle Summit Valley Delta Omega Sigma".split()
    entries = [
        ListEntry(f"e{n}", f"{words[n % 20]} {words[n // 20 % 20]} {words[n // 400 % 20]} {n} Trading", listed_on=date(2020, 1, 1) + timedelta(days=n % 900))
        for n in range(LISTED)
    ]
    return ScreeningList("house", "1", [ListEntry("g", "Globex"), *entries], "house", "inbound")


def known_model(n):
    """A model of a known publisher with a declared lineage, everything about it known."""
    name = f"pkg:huggingface/initech/model-{n}@{n:040x}#model-{n}.safetensors"
    parents = edges(name, ("acme/base", "finetune"), ("initech/root", "merge"))
    return name, Facts(ancestors=parents, gated=Fact("false"), scan=Fact("clean"), blocked_countries=Fact(()), **_more(n, FileKind.WEIGHTS))


def stranger(n, of=40):
    """A model of which nobody knows the publisher, no parent, no scan: every rule about either is open. `of` names."""
    name = f"pkg:huggingface/stranger-{n % of}/model-{n}@{n:040x}#model.gguf"
    return name, Facts(ancestors=Fact(()), **_more(n, FileKind.WEIGHTS))


def first_sight(n):
    """A stranger whose name no list was asked about before."""
    return stranger(n + 1_000_000, of=10**9)


def package(n):
    """A wheel of a known project."""
    name = f"pkg:pypi/initech-net@1.{n}?file_name=initech_net-1.{n}-py3-none-any.whl"
    return name, Facts(yanked=Fact(False), direct_urls=Fact(()), attested=Fact(""), vulnerabilities=Fact(()), **_more(n, FileKind.WHEEL))


def _more(n, kind):
    return {"license": Fact(("apache-2.0",)), "size": Fact(5_000_000_000 + n), "status": Fact("active"), "file_kind": Fact(kind),
            "published_at": Fact(NOW - timedelta(days=100 + n % 50))}  # fmt: skip


def measure(title, policy, situations):
    """Time `evaluate` on each situation once; print median and 99th percentile in microseconds."""
    took, effects, hits = [], Counter(), 0
    for artifact, facts in situations:
        started = time.perf_counter()
        verdict = evaluate(policy, artifact, facts, ACTOR, NOW)
        took.append((time.perf_counter() - started) * 1e6)
        effects[verdict.effect.word] += 1
        hits = len(verdict.rules)
    _print(title, took, f"{hits:3} rules take part, {'/'.join(effects)}")


def _print(title, took, more=""):
    took.sort()
    print(f"{title:58} median {statistics.median(took):7.1f} us   p99 {took[int(len(took) * 0.99)]:7.1f} us   {more}".rstrip())


def main() -> None:
    policy, catalogue, lineage, compiling = build()
    print(f"# python -m bench.policy_evaluate: {moment()}")
    print(f"{len(policy.rules)} rules of every kind, a denylist of 100,000 names, a list of {LISTED} names; compiled in {compiling:.2f} s")
    for title, make, skipped in (
        ("unseen artifact of a known publisher", known_model, 0),
        ("unseen artifact of an uncatalogued publisher", stranger, 40),
        ("unseen file on PyPI", package, 0),
        ("apart: a name that no list was asked about before", first_sight, 0),
    ):
        situations = []
        for n in range(COUNT):
            name, facts = make(n)
            artifact = parse_loose(name)
            situations.append((artifact, derive(facts, artifact, catalogue, lineage)))
        for artifact, facts in situations[:skipped]:  # the first sight of each name
            evaluate(policy, artifact, facts, ACTOR, NOW)
        measure(title, policy, situations[skipped:])
    _cached(policy, catalogue, lineage)


def _cached(policy, catalogue, lineage):
    """What keeping verdicts would cost instead: one look-up by artifact, groups, country and epoch, and the date."""
    kept = {}
    for n in range(COUNT):
        name, facts = known_model(n)
        artifact = parse_loose(name)
        kept[artifact, ACTOR.groups, ACTOR.country, 1] = evaluate(policy, artifact, derive(facts, artifact, catalogue, lineage), ACTOR, NOW)
    took = []
    for n in range(COUNT):
        artifact = parse_loose(known_model(n)[0])
        started = time.perf_counter()
        verdict = kept[artifact, ACTOR.groups, ACTOR.country, 1]
        fresh = verdict.valid_until is None or verdict.valid_until > NOW
        took.append((time.perf_counter() - started) * 1e6)
        if not fresh:
            raise SystemExit("a verdict outlived its date")
    _print("apart: look-up of a verdict that was kept", took)


if __name__ == "__main__":
    main()
