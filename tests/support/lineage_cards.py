"""Repositories made after what public sources say of models' parents: each row of the relations as one card or file would tell it.

How a row is told follows from what its source is - a table of bases, a map of quantisations, a list of merges, prose - and from
a digest of its name, so that every reader has its share. Rows that are inferred or general knowledge are told by no card at all:
of them nothing may be found, and nothing wrong. Every repository holds decoys: comparisons, denials, data sets, folders.
"""

from __future__ import annotations

import functools
import hashlib
import json
import struct
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROWS = Path(__file__).parents[2] / "config" / "lineage" / "models.yaml"
DECOYS = (
    "We compared it with [Chat](https://huggingface.co/decoy/chat-7b), a fine-tuned version of [Base](https://huggingface.co/decoy/base-7b).\n\n"
    "Unlike `decoy/base-7b` it is not fine-tuned from decoy/other-7b.\n\nTrained on [reviews](https://huggingface.co/datasets/decoy/reviews).\n\n"
    "See also [our larger model](https://huggingface.co/decoy/larger-70b).\n\n| model | score |\n|---|---|\n| decoy/base-7b | 61.2 |\n"
)
DECOY_NAMES = ("decoy/chat-7b", "decoy/base-7b", "decoy/other-7b", "decoy/larger-70b")
FORMS = ("tag", "card", "prose", "config", "tag", "table")


@dataclass
class Made:
    """One repository to be, and how it tells its parents."""

    name: str
    card: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    text: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    form: str = "root"


@functools.cache
def rows() -> list[dict[str, str]]:
    """The relations, as published with their sources."""
    return list(yaml.safe_load(ROWS.read_text(encoding="utf-8"))["edges"])


def told(row: dict[str, str]) -> bool:
    """Whether the source says it, rather than somebody concluding it."""
    return row["confidence"] in ("A", "B")


def world() -> tuple[dict[str, Made], dict[str, set[str]]]:
    """(repositories by name, for each child of a told row the roots that its sources state)."""
    made: dict[str, Made] = {}
    roots: defaultdict[str, set[str]] = defaultdict(set)
    everything = rows()
    children = {row["child"].casefold() for row in everything}
    for row in everything:
        for name in (row["child"], row["parent"], row["root"], *DECOY_NAMES):
            made.setdefault(name, Made(name))
    for row in everything:
        if not told(row):
            if made[row["child"]].form == "root":
                made[row["child"]].form = "silent"
            continue
        roots[row["child"]].add(row["root"])
        tell(made[row["child"]], row["parent"], row["relation"])
        if row["parent"] != row["root"] and row["parent"].casefold() not in children:
            tell(made[row["parent"]], row["root"], "finetune")
    return made, dict(roots)


def tell(repo: Made, parent: str, relation: str) -> None:
    """Let `repo` say that it was made from `parent`, as such repositories do."""
    form = FORMS[hashlib.sha256(repo.name.encode()).digest()[0] % len(FORMS)]
    if relation == "adapter":
        form = "adapter"
    elif relation == "merge":
        form = "merge"
    elif relation == "quantized" and repo.name.lower().endswith("gguf"):
        form = "gguf"
    repo.form = form
    if form == "tag":
        repo.tags += [f"base_model:{parent}", f"base_model:{relation}:{parent}"]
    elif form == "card":
        repo.card = {"base_model": [*repo.card.get("base_model", []), f"https://huggingface.co/{parent}"], "base_model_relation": relation}
    elif form == "prose":
        verb = {"quantized": "a quantized version of", "distill": "distilled from"}.get(relation, "a fine-tuned version of")
        repo.text += f"This model is {verb} [{parent.partition('/')[2]}](https://huggingface.co/{parent}) for retrieval.\n\n"
    elif form == "table":
        repo.text += f"| | |\n|---|---|\n| Base model | [{parent}](https://huggingface.co/{parent}) |\n\n"
    elif form == "config":
        repo.files["config.json"] = json.dumps({"_name_or_path": parent, "vocab_size": 32000}).encode()
    elif form == "adapter":
        repo.files["adapter_config.json"] = json.dumps({"base_model_name_or_path": parent}).encode()
    elif form == "merge":
        repo.files["mergekit_config.yml"] = f"models:\n  - model: {parent}\nmerge_method: linear\n".encode()
    else:
        text = {"general.architecture": "llama", "general.source.repo_url": f"https://huggingface.co/{parent}"}
        pairs = [struct.pack("<Q", len(k)) + k.encode() + struct.pack("<IQ", 8, len(v)) + v.encode() for k, v in text.items()]
        repo.large["q4.gguf"] = b"GGUF" + struct.pack("<IQQ", 3, 0, len(pairs)) + b"".join(pairs) + bytes(100_000)


def put(hub: Any, repos: dict[str, Made]) -> None:
    """Let a stand-in hub hold them."""
    for repo in repos.values():
        front = f"---\n{yaml.safe_dump(repo.card)}---\n" if repo.card else ""
        files = {"README.md": f"{front}# {repo.name}\n\n{repo.text}{DECOYS}".encode(), **repo.files}
        files.setdefault("config.json", b'{"_name_or_path": "outputs/checkpoint-500", "vocab_size": 32000}')
        hub.add_repo("model", repo.name, files, repo.large or None, card=repo.card, tags=repo.tags)
