"""What records cite is collected while they are verified, and what is not in the archive any more is named."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner

from mirror.audit.evidence import Citations, cited_by, lost
from mirror.audit.segments import lines, segments
from mirror.cli.main import root
from mirror.core.canonical import canonical
from mirror.core.facts import Facts
from mirror.store.archive import EvidenceArchive
from tests.support.past import CONTRACT, NOBODY, VISITOR, past


@pytest.fixture(scope="module")
def installation(tmp_path_factory):
    """Decisions under two policies with a list, one of them on a page."""
    folder = tmp_path_factory.mktemp("evidence")

    async def live():
        async with past(folder) as one:
            page = await one.recorder.keep("page", b"what the hub said")
            await one.ask("globex/solid#model.safetensors", CONTRACT, Facts(evidence=(page,)))
            await one.ask("acme/tiny#model.safetensors", VISITOR)
            await one.activate("version: 1\nrules: [{id: other, when: {publisher.country: [CN]}, effect: quarantine}]\n")
            await one.ask("globex/solid#model.safetensors", NOBODY)

    asyncio.run(live())
    return folder


def verify(folder, *arguments):
    return CliRunner().invoke(root, ["-c", str(folder / "mirror.yaml"), "ledger", "verify", *arguments])


def files(folder):
    return sorted(path for path in (folder / "data" / "evidence").rglob("*") if path.is_file())


def test_text_is_read_as_json_is(installation):
    """What is found in a line by its text is what its JSON cites, also where a list is called `policy`."""
    texts = [line for one in segments(installation / "data" / "ledger") for line in lines(one.path)]
    odd = canonical({**json.loads(texts[1]), "decision": {**json.loads(texts[1])["decision"], "lists": {"policy": "a" * 64, "rulebook": "b" * 64}}})
    for line in [*texts, odd]:
        found = Citations()
        found.take(line)
        record = json.loads(line)
        assert {(digest, one.what) for digest, one in found.items()} == set(cited_by(record))
        assert {one.sequence for _, one in found.items()} <= {record["seq"]}


def test_a_whole_archive_is_said_to_be_whole(installation):
    """With everything there `verify` says so and exits 0; --no-evidence does not look."""
    done = verify(installation)
    assert (done.exit_code, "evidence: all that is cited is in the archive (6 pieces named by records)" in done.output) == (0, True), done.output
    assert json.loads(verify(installation, "--json").output)["evidence"] == {"cited": 6, "lost": []}
    assert json.loads(verify(installation, "--json", "--no-evidence").output)["evidence"] is None


@pytest.mark.parametrize("how", ["removed", "flipped", "emptied"])
def test_each_file_that_is_gone_or_wrong_is_named(installation, how):
    """Whichever file of the archive is taken away or changed - page, policy, catalogue, rulebook, lineage, list - is named with the record that cites it."""
    kinds = set()
    for path in files(installation):
        kept = path.read_bytes()
        kind = kept.split(b" ", 4)[3].decode()
        kinds.add(kind)
        if how == "removed":
            path.unlink()
        else:
            path.write_bytes(b"" if how == "emptied" else kept[:-1] + bytes([kept[-1] ^ 1]))
        try:
            done = verify(installation)
            assert done.exit_code == 1
            (said,) = (line for line in done.output.splitlines() if line.startswith("evidence/"))
            assert said.startswith(f"evidence/{path.parent.name}/{path.name}: cited by record "), said
            assert kind in said
            assert said.endswith("is gone" if how == "removed" else "is not what it was")
            found = json.loads(verify(installation, "--json").output)
            assert (found["ok"], found["fault"], [one["sha256"] for one in found["evidence"]["lost"]]) == (False, None, [path.name])
        finally:
            path.write_bytes(kept)
    assert kinds == {"page", "policy", "catalogue", "rulebook", "lineage", "list"}


def test_an_archive_that_is_gone_whole_is_named_piece_by_piece(installation, tmp_path):
    """Where the folder is not there at all, every piece that records name themselves is told of."""
    citations = Citations()
    for one in segments(installation / "data" / "ledger"):
        for line in lines(one.path):
            citations.take(line)
    assert {row.digest for row in lost(citations, EvidenceArchive(tmp_path / "none").read)} == {digest for digest, _ in citations.items()}

