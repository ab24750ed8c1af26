"""How long one judgement takes: 300 rules of every kind and a denylist of 100,000 names, on artifacts never seen before.

Run: `python bench/policy_evaluate.py`. Nothing is cached between calls but what the policy compiled (list screenings
are remembered per publisher, and the artifacts' publishers are all different at first).
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mirror.core.actor import Actor
from mirror.core.facts import Fact, Facts
from mirror.core.nouns import FileKind
from mirror.core.purl import parse_loose
from mirror.policy.catalogue import Catalogue, Stated
from mirror.policy.compile import compile_policy
from mirror.policy.derive import derive
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage
from mirror.policy.screening import ListEntry, ScreeningList
from tests.policy.builders import WORLD, edges

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COUNTRIES = ["RU", "IR", "KP", "SY", "CU", "BY", "VE", "MM", "SD", "AF"]
#: Twenty kinds of rule, fifteen of each.
KINDS = [
    lambda n: {"origin": [COUNTRIES[n % 10]]},
    lambda n: {"publisher.country": {"any": [COUNTRIES[n % 10]]}},
    lambda n: {"publisher": [f"denied-{n}", f"huggingface:also-denied-{n}"]},
    lambda n: {"publisher": "entity:listed"},
    lambda n: {"artifact": [f"pkg:pypi/evil-{n}-*", f"pkg:huggingface/*/*-variant-{n}*"]},
    lambda n: {"ancestor": {"any": [f"forbidden-{n}/*"], "relations": ["finetune", "quantized"], "min_confidence": 0.6}},
    lambda n: {"list_match": {"lists": ["house"], "hit": 0.92, "review": 0.8}},
    lambda n: {"license": [f"cc-by-nc-{n}.0", "agpl-3.0"]},
    lambda n: {"file": [f"*.bad{n}", "*.pkl"]},
    lambda n: {"kind": "weights", "client.country": {"not_in": ["US", "EU"]}},
    lambda n: {"ecosystem": "pypi", "age_days": {"lt": n + 1}},
    lambda n: {"type": "dataset", "size": {"gt": f"{n + 1}GiB"}},
    lambda n: {"size": {"gt": 10**12 + n}},
    lambda n: {"gated": ["manual"], "type": "model"},
    lambda n: {"yanked": True},
    lambda n: {"status": ["quarantined", "disabled"]},
    lambda n: {"client.country": [COUNTRIES[n % 10]]},
    lambda n: {"direct_url": ["*evil.example*"], "ecosystem": "pypi"},
    lambda n: {"age_days": {"gt": 3000 + n}},
    lambda n: {"publisher": [f"inherited-{n}"]},
]


def build():
    rules = [
        {"id": f"r-{kind}-{n}", "when": when(n), "effect": "deny", **({"lineage": "inherit"} if kind == 19 else {}),
         **({"for": {"groups": [f"team-{n % 3}"]}} if n % 5 == 0 else {}), **({"mode": "audit"} if n % 4 == 0 else {})}
        for kind, when in enumerate(KINDS) for n in range(15)
    ]  # fmt: skip
    rules.append({"id": "denylist", "when": {"artifact": [f"pkg:huggingface/denied-org-{n % 977}/model-{n}" for n in range(100_000)]}, "effect": "deny"})
    text = json.dumps({"version": 1, "rules": rules})
    catalogue = Catalogue.build([Stated(one, confidence="A") for one in WORLD])
    lineage = Lineage.build([])
    lists = {"house": ScreeningList("house", "1", [ListEntry("e1", "Globex")], "house", "inbound")}
    started = time.perf_counter()
    policy = compile_policy([("policy.yaml", text)], catalogue, lineage, lists)
    return policy, catalogue, lineage, time.perf_counter() - started


def subjects(catalogue, lineage, count):
    for n in range(count):
        if n % 3 == 2:  # nobody knows the publisher, and the card declares nothing: every rule about either must be asked
            name = f"pkg:huggingface/stranger-{n}/model@{n:040x}#model.gguf"
            facts = Facts(ancestors=Fact(()), file_kind=Fact(FileKind.WEIGHTS))
        elif n % 3:
            name = f"pkg:huggingface/initech/model-{n}@{n:040x}#model-{n}.safetensors"
            facts = Facts(ancestors=edges(name, ("acme/base", "finetune"), ("initech/root", "merge")), gated=Fact("false"), file_kind=Fact(FileKind.WEIGHTS))
        else:
            name = f"pkg:pypi/initech-net@1.{n}?file_name=initech_net-1.{n}-py3-none-any.whl"
            facts = Facts(yanked=Fact(False), file_kind=Fact(FileKind.WHEEL), direct_urls=Fact(()))
        more = Facts(
            publisher=facts.publisher, ancestors=facts.ancestors, gated=facts.gated, yanked=facts.yanked, file_kind=facts.file_kind,
            direct_urls=facts.direct_urls, license=Fact(("apache-2.0",)), size=Fact(5_000_000_000 + n), status=Fact("active"),
            published_at=Fact(NOW - timedelta(days=100 + n % 50)),
        )  # fmt: skip
        artifact = parse_loose(name)
        yield artifact, derive(more, artifact, catalogue, lineage)


def main() -> None:
    policy, catalogue, lineage, compiling = build()
    actor = Actor("bench", ("team-1", "staff"), "10.0.0.1", "US")
    work = list(subjects(catalogue, lineage, 4000))
    took: dict[str, list[float]] = {"huggingface": [], "pypi": [], "stranger": []}
    effects = set()
    for artifact, facts in work:
        started = time.perf_counter()
        verdict = evaluate(policy, artifact, facts, actor, NOW)
        strange = facts.publisher is None or facts.publisher.value is None
        took["stranger" if strange else artifact.project.ecosystem].append((time.perf_counter() - started) * 1e6)
        effects.add(verdict.effect.word)
    print(f"{len(policy.rules)} rules, a list of 100,000 names; compiled in {compiling:.2f} s; effects {sorted(effects)}")
    for ecosystem, times in took.items():
        times.sort()
        print(f"{ecosystem:12} evaluate, unseen artifact: median {statistics.median(times):6.1f} us, p99 {times[int(len(times) * 0.99)]:6.1f} us")


if __name__ == "__main__":
    main()
