"""Facts that cost a further request: asked for one file at a time, and only where a rule in force reads them."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from mirror.core.errors import HubSaysNo, MirrorError, NotHere
from mirror.core.facts import Fact, Facts
from mirror.hubs.pypi.claims import attested_claims, ownership_claims
from mirror.hubs.pypi.documents import decode_object
from mirror.hubs.pypi.facts import (
    Declared,
    attestation,
    both,
    from_legacy,
    from_metadata,
    organisation,
    vulnerabilities,
    with_declared,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mirror.core.nouns import Artifact, Document
    from mirror.hubs.pypi.documents import Listed
    from mirror.hubs.pypi.hub import PypiHub


#: The source of facts that were read out of a part of a wheel, which nothing vouches for.
BY_RANGE: Final = "wheel, by range"


class Inquiry:
    """What an index says of a file beside its page."""

    def __init__(self, hub: PypiHub) -> None:
        self._hub = hub
        self._upstream = _origin(hub.settings.upstreams[0])

    async def complete(self, facts: Facts, artifact: Artifact, file: Listed, needs: frozenset[str]) -> Facts:
        """`facts` with those of `needs` that the page does not have. Raises as `PypiHub.page`, and `IntegrityError`."""
        if "publisher" in needs:
            await self._foreseen(artifact, file)
        if needs & {"names"}:
            facts = await self._with_organisation(facts, artifact)
        if needs & {"license", "names", "direct_urls"}:
            facts = await self._with_declared(facts, artifact, file)
        if needs & {"attested", "publisher"}:
            facts = await self._with_attestation(facts, file)
        if "publisher" in needs:
            facts = await self._with_claims(facts, artifact, file)
        if "vulnerabilities" in needs:
            facts = await self._with_vulnerabilities(facts, artifact)
        return facts

    async def _with_organisation(self, facts: Facts, artifact: Artifact) -> Facts:
        raw = await self._legacy_object(artifact)
        name = organisation(raw[0]) if raw else None
        return facts if name is None else replace(facts, names=Fact((name,), "legacy JSON", "A"))

    async def _with_declared(self, facts: Facts, artifact: Artifact, file: Listed) -> Facts:
        """Licence, names and requirements: from the file's own metadata, which the page pins, else from the legacy JSON.

        An index that has neither may still answer ranges: a wheel says it all in its last bytes.
        """
        if file.has_metadata:
            # An index may advertise what it does not have: that is no reason to withhold the file.
            with suppress(NotHere, HubSaysNo):
                document = await self._hub.metadata(file)
                source = BY_RANGE if file.unverified else "core metadata"
                return with_declared(facts, from_metadata(document.body, source), document.digest.hex)
        raw = await self._legacy_object(artifact)
        if raw is not None:
            return with_declared(facts, self._told(raw[1]), raw[1].digest.hex)
        part = await self._hub.made.by_range(self._hub.target(file.url), file.size) if file.name.endswith(".whl") else None
        return facts if part is None else with_declared(facts, from_metadata(part[0], BY_RANGE), *part[1])

    async def _legacy_object(self, artifact: Artifact) -> tuple[Mapping[str, Any], Document] | None:
        """The release's legacy JSON, or None where the index has none: the facts then stay unknown."""
        try:
            document = await self._hub.legacy(artifact.project.name, artifact.revision)
        except (NotHere, HubSaysNo):
            return None
        return _object(document.body, self._upstream), document

    def _told(self, legacy: Document) -> Declared:
        return _told(legacy.body, self._upstream)

    async def _with_attestation(self, facts: Facts, file: Listed) -> Facts:
        """`attested` is the publisher's identity, unknown where the index advertises one and does not give it."""
        if file.provenance is None:
            return facts
        try:
            document = await self._hub.provenance(file)
        except (NotHere, HubSaysNo):
            return facts
        identity = attestation(decode_object(document.body, _origin(file.provenance)))
        return replace(
            facts, attested=Fact(identity, "integrity API"), evidence=(*facts.evidence, document.digest.hex)
        )

    async def _foreseen(self, artifact: Artifact, file: Listed) -> None:
        """Have the pages of `_with_claims` on their way at once: one wait, not three. What fails is asked for, and fails, there."""
        asked = [self._hub.legacy(artifact.project.name, artifact.revision)]
        asked += [self._hub.metadata(file)] if file.has_metadata else []
        asked += [self._hub.provenance(file)] if file.provenance is not None else []
        for failed in await asyncio.gather(*asked, return_exceptions=True):
            if isinstance(failed, BaseException) and not isinstance(failed, MirrorError):
                raise failed

    async def _with_claims(self, facts: Facts, artifact: Artifact, file: Listed) -> Facts:
        """What the index says of who published the file, and what its uploader says (`policy.accounts` weighs it).

        The attested identity is this file's; ownership is the project's and of today; the rest is from the file's own metadata,
        which the page pins, else from the release's legacy JSON.
        """
        claims = list(attested_claims(facts.attested.value if facts.attested else None))
        evidence, sources = list(facts.evidence), ["integrity API"] if claims else []
        raw = await self._legacy_object(artifact)
        if raw is not None:
            claims += ownership_claims(raw[0])
            sources.append("legacy JSON")
            evidence.append(raw[1].digest.hex)
        told = self._told(raw[1]) if raw is not None else None
        if file.has_metadata:
            with suppress(NotHere, HubSaysNo):
                document = await self._hub.metadata(file)
                told = from_metadata(document.body, BY_RANGE if file.unverified else "core metadata")
                evidence.append(document.digest.hex)
                sources.append(told.source)
        claims += told.claims if told is not None else ()
        if not sources:
            return facts
        kept = Fact(tuple(dict.fromkeys(claims)), ", ".join(sources), "C")
        return replace(facts, claims=kept, evidence=tuple(dict.fromkeys(evidence)))

    async def _with_vulnerabilities(self, facts: Facts, artifact: Artifact) -> Facts:
        """What the index itself knows of the release, joined with the operator's own OSV database.

        Unknown where there is no such database, and the index has no legacy JSON or does not speak of it.
        """
        advised = self._hub.advised(facts, artifact)
        raw = await self._legacy_object(artifact)
        known = vulnerabilities(raw[0]) if raw is not None else None
        if raw is None or known is None:
            return advised
        told = Fact(known, "legacy JSON")
        return replace(
            advised,
            vulnerabilities=told if advised.vulnerabilities is None else both(told, advised.vulnerabilities),
            evidence=(*advised.evidence, raw[1].digest.hex),
        )


@lru_cache(maxsize=32)
def _object(body: bytes, upstream: str) -> Mapping[str, Any]:
    """As `decode_object`, kept for the next question about the same release: to be read only."""
    return decode_object(body, upstream)


@lru_cache(maxsize=512)
def _told(body: bytes, upstream: str) -> Declared:
    return from_legacy(_object(body, upstream))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
