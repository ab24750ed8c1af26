"""From pages to facts: licences, kinds of file, declared parents, and what a page must hold."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from mirror.core.actor import Actor
from mirror.core.decision import Effect
from mirror.core.errors import UpstreamGarbage
from mirror.core.nouns import Artifact, Digest, Document, DocumentKey, FileKind, Kind
from mirror.hubs.huggingface.documents import RepoPage, cause, parse_page
from mirror.hubs.huggingface.facts import declared_parents, file_facts, file_kind, licences, repository_facts
from mirror.policy.catalogue import Catalogue
from mirror.policy.compile import compile_policy
from mirror.policy.evaluate import evaluate
from mirror.policy.lineage import Lineage

NOW = datetime(2026, 11, 22, tzinfo=UTC)
COMMIT = "a" * 40
SHA256 = "b" * 64


def page(**changes: object) -> RepoPage:
    data = {"id": "acme/x", "_id": "6" * 24, "sha": COMMIT, "private": False, "gated": False, "disabled": False, "siblings": [], **changes}
    return parse_page(document(json.dumps(data).encode()), "huggingface", Kind.MODEL, "https://huggingface.co")


def document(body: bytes) -> Document:
    return Document(DocumentKey("huggingface", "/api/models/acme/x?blobs=true"), 200, (), body, Digest("sha256", "0" * 64), NOW, None)


def test_a_page_gives_sizes_and_digests() -> None:
    """An LFS file is known by its SHA-256 and content size, a git file by its blob id."""
    lfs = {"rfilename": "m.safetensors", "size": 134, "blobId": "c" * 40, "lfs": {"sha256": SHA256, "size": 9_000, "pointerSize": 134}}
    files = page(siblings=[lfs, {"rfilename": "a.json", "size": 3, "blobId": "d" * 40}, {"rfilename": "bare"}]).files
    assert (files["m.safetensors"].size, str(files["m.safetensors"].declared)) == (9_000, f"sha256:{SHA256}")
    assert (files["a.json"].size, str(files["a.json"].declared)) == (3, "git-sha1:" + "d" * 40)
    assert files["bare"].declared is None


@pytest.mark.parametrize(
    "body",
    [b"<html>", b'"text"', b"[]", b"{}", b'{"id": 7, "sha": "x"}', b'{"id": "acme/x"}', b'{"id": "acme/x", "sha": "a", "siblings": {}}', b'{"id": "acme/x", "sha": "a", "siblings": [7]}', b"[" * 100_000, b"\xff"],
)  # fmt: skip
def test_a_page_that_makes_no_sense_is_upstreams_fault(body: bytes) -> None:
    """Bad JSON, wrong shapes and missing parts raise `UpstreamGarbage` naming the upstream, never anything else."""
    with pytest.raises(UpstreamGarbage) as caught:
        parse_page(document(body), "huggingface", Kind.MODEL, "https://huggingface.co")
    assert caught.value.upstream == "https://huggingface.co"


def test_what_is_not_plainly_public_is_not_public() -> None:
    """An unknown gate is a gate; any word but false in `private` or `disabled` counts as yes."""
    assert page().public
    assert not page(gated="new-kind").public
    assert not page(gated="auto").public
    assert not page(private="true").public
    assert not page(disabled="yes").public
    assert page(gated="manual", private=True).restriction == "private,gated"


@pytest.mark.parametrize(
    ("card", "tags", "found"),
    [
        ({"license": "Apache-2.0"}, [], ("apache-2.0",)),
        ({}, ["license:mit"], ("mit",)),
        ({"license": ["mit", "cc-by-4.0"]}, ["license:mit"], ("cc-by-4.0", "mit")),
        ({"license": "other", "license_name": "acme-research"}, ["license:other"], ("acme-research",)),
        ({"license": "other"}, [], ("other",)),
        ({"license": 7}, [], ()),
    ],
)
def test_licences(card: dict, tags: list[str], found: tuple[str, ...]) -> None:
    """Card and tags together, lower case; `other` gives way to its name; nothing stated is unknown."""
    one = page(cardData=card, tags=tags)
    assert licences(one) == found
    fact = repository_facts(one).license
    assert fact is not None
    assert fact.value == (found or None)


def test_a_stated_licence_has_a_rules_own_effect() -> None:
    """A rule with the default `min_confidence` denies a licence that the card states, and an allow rule permits one: neither is only held for review."""
    rules = [{"id": "nc", "when": {"license": "cc-by-nc-4.0"}, "effect": "deny"}, {"id": "free", "when": {"license": "mit"}, "effect": "allow"}]
    policy = compile_policy([("p", json.dumps({"version": 1, "defaults": {"action": "deny"}, "rules": rules}))], Catalogue([]), Lineage([]), {})
    found = []
    for licence in ("cc-by-nc-4.0", "mit", "gpl-3.0"):
        one = page(cardData={"license": licence})
        verdict = evaluate(policy, Artifact(one.project, "main", "config.json"), repository_facts(one), Actor("a"), NOW)
        found.append((verdict.effect, [hit.id for hit in verdict.rules]))
    assert found == [(Effect.DENY, ["nc"]), (Effect.ALLOW, ["free"]), (Effect.DENY, [])]


@pytest.mark.parametrize(
    ("card", "tags", "edges"),
    [
        ({"base_model": "globex/solid"}, [], [("globex/solid", "unknown")]),
        ({"base_model": "globex/solid", "base_model_relation": "quantized"}, [], [("globex/solid", "quantized")]),
        ({}, ["base_model:globex/solid", "base_model:adapter:globex/solid"], [("globex/solid", "adapter")]),
        ({"base_model": ["a/b", "c/d"], "base_model_relation": "merge"}, ["base_model:A/B"], [("A/B", "merge"), ("c/d", "merge")]),
        ({"base_model": "https://huggingface.co/globex/solid"}, [], [("globex/solid", "unknown")]),
        ({"base_model": ["acme/X", "", 7]}, [], []),
        ({}, ["base_model:old-single"], [("old-single", "unknown")]),
    ],
)
def test_declared_parents(card: dict, tags: list[str], edges: list[tuple[str, str]]) -> None:
    """Every parent that card or tags name, once, with the relation wherever it is stated; never the project itself."""
    assert [(edge.parent.name, edge.relation) for edge in declared_parents(page(cardData=card, tags=tags))] == edges


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("model-00001-of-00002.safetensors", FileKind.WEIGHTS), ("x/Q4_K_M.GGUF", FileKind.WEIGHTS), ("pytorch_model.bin", FileKind.WEIGHTS),
        ("a.pkl", FileKind.WEIGHTS), ("tokenizer.json", FileKind.TOKENIZER), ("tokenizer.pkl", FileKind.WEIGHTS), ("config.json", FileKind.CONFIG),
        ("modeling_x.py", FileKind.CODE), ("data.csv", FileKind.DATA), ("README.md", FileKind.OTHER), ("LICENSE", FileKind.OTHER), ("", FileKind.METADATA),
    ],
)  # fmt: skip
def test_file_kinds(path: str, kind: FileKind) -> None:
    """The kind follows from the name, whatever its case; a pickle is weights whatever else it is called."""
    assert file_kind(path) is kind


def test_a_file_that_no_list_shows_has_no_known_size() -> None:
    """An unlisted file's size is unknown; the page as a whole has none to judge."""
    one = page(siblings=[{"rfilename": "a.bin", "size": 5, "blobId": "d" * 40}])
    shared = repository_facts(one)
    assert [file_facts(shared, one, path).size.value for path in ("a.bin", "b.bin", "")] == [5, None, 0]


@pytest.mark.parametrize(
    ("status", "code", "message", "word"),
    [
        (403, "GatedRepo", "Access to model x is restricted", "gated"), (401, "", "Invalid username or password.", "private"),
        (401, "", "Invalid credentials in Authorization header", "credentials"), (403, "", "Access to this resource is disabled.", "disabled"),
        (403, "", "This model is not available in your region.", "region"), (403, "GatedRepo", "... not available in your region", "region"),
        (451, "", "Unavailable For Legal Reasons", "region"), (451, "GatedRepo", "Blocked by policy rule 'x'", "region"),
        (404, "EntryNotFound", "Entry not found", "missing_entry"), (404, "RevisionNotFound", "Invalid rev id: x", "missing_revision"),
        (404, "RepoNotFound", "Repository not found", "missing_repo"), (404, "", "", "missing_repo"), (400, "", "odd", "other"),
    ],
)  # fmt: skip
def test_our_word_for_the_hubs_no(status: int, code: str, message: str, word: str) -> None:
    """Each refusal of the hub has one cause, the region block whatever code it carries."""
    assert cause(status, code, message) == word
