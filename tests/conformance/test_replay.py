"""Recorded request sequences, sent to the stand-ins and to the mirror in front of them, and the table of what differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.mirror import running_mirror
from tests.support.standin import ALICE, StandInHub, StandInIndex, running_hub, running_index

from .differences import DIALECTS, PAGE, Seen, compared, listed, page
from .replay import Answer, Replay, Sequence, recorded

EVERY = [pytest.param(dialect, sequence, id=f"{dialect}: {sequence.name}") for dialect in DIALECTS for sequence in recorded(dialect)]


@dataclass
class Places:
    """Where the sequences are sent."""

    direct: dict[str, Replay]
    through: dict[str, Replay]
    bases: dict[str, str]  # addresses -> the word that stands for them, longest first

    def seen(self, dialect: str, sequence: Sequence) -> list[Seen]:
        """What differs, cold and warm; a difference that only one of them has is in there as well."""
        theirs = self.direct[dialect].run(sequence)
        found: list[Seen] = []
        for _ in ("cold", "warm"):
            ours = self.through[dialect].run(sequence)
            found += [seen for step in sequence.steps for seen in self._step(sequence, step.id, theirs, ours)]
        return list(dict.fromkeys(found))

    def _step(self, sequence: Sequence, step: str, theirs: dict[str, Answer], ours: dict[str, Answer]) -> Iterator[Seen]:
        yield from compared(f"{sequence.name}: {step}", theirs[step], ours[step], self.bases)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    with running_hub() as hub, running_index() as index, running_mirror(tmp_path_factory.mktemp("mirror"), hub, index) as mirror:
        words = words_of(hub)
        yield Places(
            {"huggingface": Replay(hub.url, words), "pypi": Replay(index.url, {"index": ""})},
            {"huggingface": Replay(mirror.url, words), "pypi": Replay(mirror.url, {"index": "/pypi"})},
            bases_of(mirror.url, hub, index),
        )


def words_of(hub: StandInHub) -> dict[str, str]:
    model, gguf = hub.repo("acme/tiny-bert"), hub.repo("quantbarn/solid-7b-merge-GGUF")
    return {
        "commit": model.head, "data": hub.repo("acme/reviews", "datasets").head, "gguf": gguf.head, "alice": ALICE,
        "oid": model.commits[model.head].files["model.safetensors"].sha256,
        "size": str(len(model.commits[model.head].files["model.safetensors"].data)),
        "layer": gguf.commits[gguf.head].files["solid-7b-merge-Q4_K_M.gguf"].sha256,
    }  # fmt: skip


def bases_of(mirror: str, hub: StandInHub, index: StandInIndex) -> dict[str, str]:
    return {
        f"{mirror}/pypi/packages/": "FILES/packages/", f"{mirror}/pypi": "INDEX", mirror: "HUB",
        hub.url: "HUB", hub.cdn_url: "CDN", hub.cas_url: "CAS", index.files_url: "FILES", index.url: "INDEX",
    }  # fmt: skip


@pytest.fixture(scope="module")
def used() -> dict[str, set[int]]:
    """Which rows of the table occurred, by dialect."""
    return {dialect: set() for dialect in DIALECTS}


@pytest.mark.parametrize(("dialect", "sequence"), EVERY)
def test_a_sequence_is_answered_as_upstream_answers(places: Places, used: dict[str, set[int]], dialect: str, sequence: Sequence) -> None:
    """Status, headers that matter and body of every answer are upstream's, except where a row of the table says otherwise."""
    rows = listed(dialect)
    unlisted = []
    for seen in places.seen(dialect, sequence):
        covering = {place for place, row in enumerate(rows) if row.covers(seen)}
        used[dialect] |= covering
        if not covering:
            unlisted.append(seen)
    assert not unlisted, "\n".join(f"{one.where} | {one.field} | {one.theirs} | {one.ours}" for one in unlisted)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_row_of_the_table_occurs(used: dict[str, set[int]], request: pytest.FixtureRequest, dialect: str) -> None:
    """A difference that is gone must leave the table: each row was seen by the tests above."""
    ran = {item.callspec.id for item in request.session.items if item.path == request.path and hasattr(item, "callspec")}
    if not {param.id for param in EVERY} <= ran:
        pytest.skip("only some sequences were asked for")
    assert not [row for place, row in enumerate(listed(dialect)) if place not in used[dialect]]


def test_the_page_shows_the_table() -> None:
    """docs/protocols/differences.md is what `python -m tests.conformance.differences` writes."""
    assert PAGE.read_text(encoding="utf-8") == page()
