"""A small catalogue of invented publishers."""

from mirror.decode import load_yaml
from mirror.lists.loading import parse_catalogue

ACME = """
version: 1
publishers:
  - id: acme
    entity: Acme Labs Ltd
    kind: company
    parent: globex
    aliases: [Acme, 阿克米]
    handles: {huggingface: [Acme, acme-research], github: [acme-labs]}
    projects: {pypi: [Acme_SDK, {name: acme-old, confidence: C}]}
    packages: ["acme-*"]
    countries: [{code: GB, role: headquarters, source: "https://acme.example", as_of: 2026-01-31, confidence: A}]
    owners: [{id: globex, share: 0.6, source: "https://acme.example", as_of: 2026-01-31}]
    listings: [{list: "House list", from: 2025-01-16, until: null, source: "https://acme.example"}]
    web: [acme.example]
  - id: globex
    entity: Globex Holdings
    kind: company
    handles: {huggingface: [globex]}
    countries: [{code: "NO", role: registered, confidence: B}, {code: SG, role: operation}]
"""


def build(*texts):
    return parse_catalogue([[(f"pack{number}.yaml", load_yaml(text, "x"))] for number, text in enumerate(texts)])
