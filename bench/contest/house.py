"""The policy that this mirror enforces while it is measured: profile `enterprise` and as many rules of a house again."""

from __future__ import annotations

import yaml

from bench.contest.machine import ROOT

_NAMES = [f"pkg:pypi/evil-{n}" for n in range(500)] + [f"pkg:huggingface/globex/model-{n}" for n in range(500)]
_HOUSE = [
    {"id": "origin", "when": {"origin": ["KP", "IR"]}, "effect": "deny", "legal": True, "basis": "house policy 1"},
    {"id": "own-country", "when": {"publisher.country": ["SY"]}, "effect": "deny"},
    {"id": "publisher", "when": {"publisher": ["umbrella", "hyperion"]}, "effect": "deny", "lineage": "inherit", "suggest": ["acme/small"]},
    {"id": "names", "when": {"artifact": ["pkg:huggingface/*/*-uncensored*", "pkg:pypi/acme-internal-*"]}, "effect": "deny"},
    {"id": "denylist", "when": {"artifact": _NAMES}, "effect": "deny"},
    {"id": "derived", "when": {"ancestor": {"any": ["initech/*"], "relations": ["finetune", "adapter", "merge", "quantized"]}}, "effect": "deny"},
    {"id": "listed", "when": {"list_match": {"lists": ["house"], "hit": 0.92, "review": 0.80}}, "effect": "deny", "legal": True, "basis": "house policy 2"},
    {"id": "weights-abroad", "when": {"kind": "weights", "client.country": {"not_in": ["GB", "US", "CA", "AU", "NZ"]}}, "effect": "deny", "legal": True, "basis": "house policy 3"},
    {"id": "very-large", "when": {"size": {"gt": 200_000_000_000}}, "effect": "review"},
    {"id": "copyleft", "when": {"license": ["agpl-*", "sspl-*"]}, "effect": "warn"},
    {"id": "scripts", "when": {"ecosystem": "huggingface", "file": ["*.exe", "*.dll", "*.sh"]}, "effect": "deny"},
    {"id": "new-models", "when": {"ecosystem": "huggingface", "kind": "weights", "age_days": {"lt": 2}}, "effect": "review", "for": {"groups": ["engineering"]}},
    {"id": "later", "when": {"publisher": ["stark"]}, "effect": "deny", "mode": "audit", "from": "2026-01-01", "until": "2100-01-01"},
]  # fmt: skip


def _policy():
    profile = yaml.safe_load((ROOT / "config" / "profiles" / "enterprise" / "policy.yaml").read_text(encoding="utf-8"))
    profile["rules"] += _HOUSE
    profile["tests"] = []
    return yaml.safe_dump(profile, sort_keys=False)


POLICY = _policy()
RULES = len(yaml.safe_load(POLICY)["rules"])


def house_list(entries=2000):
    """A screening list of invented companies, as CSV."""
    words = "Northern Southern Blue Red Silver Golden Iron Steel River Harbour Falcon Summit Valley Delta Omega Sigma".split()
    rows = [f"{words[n % 16]} {words[n // 16 % 16]} {words[n // 256 % 16]} {n} Trading" for n in range(entries)]
    return "\n".join(["name", *rows]) + "\n"
