"""What a page left out follows from the record: it holds the facts of what was refused most severely."""

from __future__ import annotations

from mirror.core.canonical import canonical
from mirror.proxy.rulebook import load_epoch
from mirror.store.archive import EvidenceArchive
from mirror.watch.archived import ArchivedRules
from mirror.watch.past import recompute
from tests.support.standin.hub import StandInHub

from .conftest import mirror_of

RULES = """version: 1
rules:
  - {id: pickle, when: {file: ["*.bin"], size: {gt: 0}}, effect: review}
  - {id: shards, when: {file: ["shard-03/*"]}, effect: deny, reason: "not this one"}
  - {id: spaces, when: {type: space, license: ["*", unknown]}, effect: deny}
"""


async def test_steered_pages_and_files_recompute(standin: StandInHub, tmp_path) -> None:
    """Trees, repository pages and listings that left something out, and the files themselves, follow from record and archive."""
    folder = tmp_path / "m"
    async with mirror_of(standin, folder, RULES) as mirror:
        for target in (
            "/api/models/acme/tiny-bert/tree/main?recursive=true", "/api/models/acme/tiny-bert", "/api/models/acme/many-files/tree/main?recursive=true",
            "/api/spaces", "/acme/tiny-bert/resolve/main/config.json", "/acme/tiny-bert/resolve/main/pytorch_model.bin",
        ):  # fmt: skip
            await mirror.get(target)
        steered = mirror.events("steered")
        assert {event["detail"]["judged"].partition("#")[2].rpartition("/")[2] for event in steered} >= {"pytorch_model.bin"}
    epoch, archive = load_epoch(folder / "policy.yaml", (), {}), EvidenceArchive(folder / "evidence")
    for kind, content in (
        ("policy", canonical([list(pair) for pair in epoch.policy.texts])), ("catalogue", epoch.catalogue.content), ("lineage", epoch.lineage.content),
        ("rulebook", epoch.manifest),
    ):  # fmt: skip
        await archive.keep(kind, content)
    found = [one async for one in recompute(folder / "ledger", ArchivedRules(archive))]
    assert len(found) >= 4
    assert [(one.artifact, one.deviations, one.missing) for one in found if one.deviations or one.missing] == []
