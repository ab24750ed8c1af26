"""What is kept of how an artifact came here: when, from where, and what was said of it then. What "published" rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mirror.core.actor import Credential
from mirror.core.nouns import Artifact, Digest
from mirror.core.purl import parse_artifact


@dataclass(frozen=True, slots=True)
class LicenceText:
    """A licence file that came with it: its path there, and the SHA-256 (hex) under which the evidence archive has it."""

    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Acquisition:
    """The first transfer of an artifact's bytes to this mirror.

    `upstream` is the origin that was asked, also where the bytes came from an address that it had named before. `public`: the
    hub gave it to anybody then, without gate; `restriction` and `gated` are the hub's own words for where it did not. `declared`
    is the digest that the hub promised (None: none). `licenses` as declared (None: unknown), `evidence` the SHA-256 (hex) of the
    hub's pages that say so.

    One that a bundle told of is not this mirror's own: `sender` names the mirror (its ledger's origin) whose transfer it was, "" for
    ours, `bundle` what brought the word of it here. The texts came along, the pages did not.
    """

    artifact: Artifact
    digest: Digest
    size: int
    at: datetime
    upstream: str
    public: bool
    restriction: str = ""
    gated: str = ""
    declared: Digest | None = None
    licenses: tuple[str, ...] | None = None
    texts: tuple[LicenceText, ...] = ()
    evidence: tuple[str, ...] = ()
    sender: str = ""
    bundle: str = ""

    def detail(self) -> tuple[tuple[str, Any], ...]:
        """Everything but artifact and time, as the ledger's event has it; the event of one that was carried has the time of its import."""
        carried = (("sender", self.sender), ("bundle", self.bundle), ("acquired_at", self.at.isoformat())) if self.sender else ()
        return (
            ("digest", str(self.digest)), ("size", self.size), ("upstream", self.upstream), ("public", self.public),
            ("restriction", self.restriction), ("gated", self.gated), ("declared", None if self.declared is None else str(self.declared)),
            ("licenses", None if self.licenses is None else list(self.licenses)),
            ("texts", [{"path": text.path, "sha256": text.sha256} for text in self.texts]), ("evidence", list(self.evidence)),
            *carried,
        )  # fmt: skip


def acquisition_from(subject: str, at: datetime, detail: Mapping[str, Any]) -> Acquisition:
    """What `Acquisition.detail` wrote. Raises `ValueError`, `TypeError` or `KeyError` for anything else."""
    licenses, declared, sender = detail["licenses"], detail["declared"], str(detail.get("sender", ""))
    at = datetime.fromisoformat(detail["acquired_at"]) if sender else at
    return Acquisition(
        parse_artifact(subject), _digest(detail["digest"]), int(detail["size"]), at, str(detail["upstream"]), bool(detail["public"]),
        str(detail["restriction"]), str(detail["gated"]), None if declared is None else _digest(declared),
        None if licenses is None else tuple(map(str, licenses)),
        tuple(LicenceText(str(row["path"]), str(row["sha256"])) for row in detail["texts"]), tuple(map(str, detail["evidence"])),
        sender, str(detail.get("bundle", "")),
    )  # fmt: skip


def _digest(text: str) -> Digest:
    algorithm, _, digits = text.partition(":")
    if not digits:
        raise ValueError(f"{text!r} is no digest")
    return Digest(algorithm, digits)


class AcquisitionIndex(Protocol):
    """Acquisitions as the ledger has them, a moment behind it. Raises `IndexDown` throughout."""

    async def acquired_among(self, pairs: Sequence[tuple[Artifact, Digest]]) -> frozenset[tuple[str, Digest]]:
        """Those of which the record has it that these bytes came here under this name (`str` of the artifact), not only to a sender."""

    async def acquisitions(self, artifacts: Sequence[Artifact]) -> Sequence[Acquisition]:
        """Those of these artifacts, the oldest first; one artifact has several where its bytes were others later."""

    async def acquired(self, prefix: str, limit: int) -> Sequence[Acquisition]:
        """Those of artifacts whose package URL begins so, by name."""


@dataclass(frozen=True, slots=True)
class Publication:
    """How a hub stood to an artifact at a moment. `texts` are licence files: (path, bytes, or the artifact that has them).

    `origin` is where the hub itself is asked ("": unsaid).
    """

    public: bool
    licenses: tuple[str, ...] | None = None
    texts: tuple[tuple[str, bytes | Artifact], ...] = ()
    origin: str = ""


@runtime_checkable
class Publishing(Protocol):
    """A hub that can tell under what terms it publishes."""

    async def publication(self, artifact: Artifact, credential: Credential | None, path: Path | None) -> Publication:
        """Of an artifact that just came and lies at `path` (None: nowhere that can be opened). Raises as `Hub.describe`."""
