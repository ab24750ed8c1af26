"""How files came, carried along: acquisitions of a sender as rows with their licence texts, and at a receiver as the word of that sender."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from mirror.bundle.contents import (
    LICENCE,
    AcquisitionRow,
    EntryRow,
    TextRow,
    artifact_of,
    artifact_row,
    digest_of,
    micros,
    moment,
)
from mirror.bundle.faults import BundleFault
from mirror.core.acquisitions import Acquisition, LicenceText
from mirror.core.actor import Actor
from mirror.core.decision import Event, EventKind
from mirror.proxy.acquired import MOST

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mirror.bundle.gather import Collection
    from mirror.bundle.oci import Part
    from mirror.core.nouns import Artifact

#: The kind under which the evidence archive keeps licence texts.
KIND: Final = "licence"

Read = Callable[[str], tuple[str, bytes] | str]


def acquisition_row(acquisition: Acquisition, artifact: Artifact) -> AcquisitionRow:
    """The row of an acquisition of `artifact`, whose hub the ledger does not tell."""
    one, declared = acquisition, None if acquisition.declared is None else str(acquisition.declared)
    texts = tuple(TextRow(text.path, text.sha256) for text in one.texts)
    return AcquisitionRow(
        artifact_row(artifact), str(one.digest), one.size, micros(one.at), one.upstream, one.public, one.restriction, one.gated, declared,
        one.licenses, texts, one.evidence, one.sender,
    )  # fmt: skip


def acquisition_of(row: AcquisitionRow, hubs: Mapping[str, str], sender: str, bundle: str) -> Acquisition:
    """The acquisition as `bundle` of `sender` tells of it. Raises `KeyError`."""
    declared, texts = None if row.declared is None else digest_of(row.declared), tuple(LicenceText(text.path, text.sha256) for text in row.texts)
    return Acquisition(
        artifact_of(row.artifact, hubs), digest_of(row.digest), row.size, moment(row.at), row.upstream, row.public, row.restriction, row.gated,
        declared, row.licenses, texts, row.evidence, row.sender or sender, bundle,
    )  # fmt: skip


# --- sending ------------------------------------------------------------------------------------------------------


def carried(found: Collection) -> Mapping[str, list[EntryRow]]:
    """The files of a collection by the names that the ledger has for them."""
    names: dict[str, list[EntryRow]] = {}
    for row in found.rows:
        if isinstance(row, EntryRow):
            names.setdefault(str(_own(row)), []).append(row)
    return names


def _own(row: EntryRow) -> Artifact:
    return artifact_of(row.artifact, {row.artifact.hub: row.artifact.hub})


def gathered(found: Collection, acquisitions: Iterable[Acquisition], read: Read) -> Iterator[str]:
    """Add these to the collection, as far as they are of its bytes; gives what could not be added. `read` is the evidence archive's."""
    names = carried(found)
    for one in acquisitions:
        for entry in names.get(str(one.artifact), ()):
            if entry.digest != str(one.digest):
                continue  # other bytes under the same name, of another time
            texts = []
            for text in one.texts:
                kept = read(text.sha256)
                if isinstance(kept, str):
                    yield f"{one.artifact}: its licence text {text.path} is lost from the evidence archive: {kept}"
                else:
                    found.data(LICENCE, f"licences/{text.sha256[:12]}/{text.path.rpartition('/')[2]}", text.sha256, kept[1])
                    texts.append(text)
            found.rows.add(acquisition_row(replace(one, texts=tuple(texts)), _own(entry)))


# --- receiving ----------------------------------------------------------------------------------------------------


def texts_of(rows: Iterable[object], parts: Mapping[str, Part]) -> frozenset[str]:
    """SHA-256 (hex) of every licence text that rows speak of. Raises `BundleFault` for one that is longer than any that is kept."""
    found = {text.sha256: text for row in rows if isinstance(row, AcquisitionRow) for text in row.texts}
    for digest, text in found.items():
        part = parts.get(digest)
        if part is not None and part.size > MOST:
            raise BundleFault("contents", f"call {part.size} bytes (sha256:{digest}) the licence text {text.path!r}; none has more than {MOST}")
    return frozenset(found)


def told(rows: Iterable[object], hubs: Mapping[str, str], sender: str, bundle: str) -> Sequence[Acquisition]:
    """What a bundle says of how its files came, of hubs that are configured here."""
    known = (row for row in rows if isinstance(row, AcquisitionRow) and row.artifact.hub in hubs)
    return [acquisition_of(row, hubs, sender, bundle) for row in known]


def news(acquisitions: Iterable[Acquisition], held: frozenset[str], known: Iterable[Acquisition], now: datetime) -> list[Event]:
    """Events of those whose artifact is here (`held`, by identity) and which nobody told of before (`known`)."""
    before = {_about(one) for one in known}
    fresh = {_about(one): one for one in acquisitions if one.artifact.identity in held and _about(one) not in before}
    return [Event(EventKind.ACQUIRED, now, Actor("mirror"), subject=str(one.artifact), detail=one.detail()) for one in fresh.values()]


def _about(one: Acquisition) -> tuple[str, str, str]:
    return str(one.artifact), str(one.digest), one.sender
