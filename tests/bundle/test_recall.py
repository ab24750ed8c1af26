"""What a recall may name, and what becomes of it at the receiver."""

from __future__ import annotations

import json

import pytest

from mirror.bundle.recall import withdrawn
from mirror.core.errors import InputError
from mirror.proxy import recalls


def named(*patterns, wide=False):
    return [row.artifact for row in withdrawn((), patterns, (), "an order", "", legal=False, wide=wide)]


def test_a_pattern_that_names_nobody_s_is_meant_or_refused():
    """A star before the owner's name ends, or before any of a package's, is an error that names each; with consent it is taken, and whoever is named needs none."""
    fine = ["acme/*", "acme/x#*.bin", "gpt2", "pkg:pypi/evil-*", "pkg:pypi/acme-app", "pkg:huggingface/acme/x@main"]
    assert named(*fine) == fine
    wide = ["*", "acme*", "*/solid-7b", "pkg:pypi/*", "pkg:huggingface/*"]
    with pytest.raises(InputError) as caught:
        named(*fine, *wide)
    assert [problem.place for problem in caught.value.problems] == wide
    assert named(*wide, wide=True) == wide


def put(data, file, **more):
    deny = {"id": f"D-{file:0>26}", "at": "2026-11-22T00:00:00Z", "artifacts": ["acme/x"], "reason": "an order", "basis": "", "legal": False}
    path = recalls.recall_file(data, file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": 1, "statement": "aa", "sender": "hq.example", "denies": [deny]} | more))


def test_rules_of_recalls_are_named_after_their_senders_once_each(tmp_path):
    """The id of the rule is the sender's card, series and number; a file of an earlier release has that of its deny; two cards of one name make two rules; a damaged file is told and keeps out no other."""
    whose = {"by": "HQ_Main", "name": "lab.x", "number": 3, "day": "2026-11-22"}
    put(tmp_path, "1", **whose)
    put(tmp_path, "2", **whose)
    put(tmp_path, "3")
    recalls.recall_file(tmp_path, "4").write_text("{")
    found, problems = recalls.in_force(tmp_path)
    assert [one.rule for one in found] == ["recall-hq-main-lab-x-3", "", ""]
    assert found[0].deny.reason == "an order (withdrawn by HQ_Main, hq.example, with bundle lab.x 3 of 2026-11-22)"
    assert found[2].deny.reason == "an order (withdrawn by hq.example)"
    assert "is not in force" in str(problems[0])
