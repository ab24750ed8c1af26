"""How rows are written and read back: keys, moments, artifacts, digests. Reading raises `ValueError` and its kin for damage."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from mirror.core.nouns import Artifact, Digest, Kind, Project

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
#: What reading a damaged row raises.
MALFORMED: Final = (ValueError, TypeError, KeyError, LookupError, OverflowError)


def micros(when: datetime) -> int:
    """Whole microseconds since 1970 UTC."""
    return (when - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """What `micros` wrote."""
    return _EPOCH + timedelta(microseconds=value)


def row_key(*parts: str) -> str:
    """One fixed-length key of several texts; the JSON list keeps ("a", "bc") and ("ab", "c") apart."""
    return sha256(json.dumps(parts).encode()).hexdigest()


def storable(text: str) -> str:
    """What both engines take in a text column: PostgreSQL has no NUL, neither has lone surrogates."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def headers_from(text: str) -> tuple[tuple[str, str], ...]:
    """Header fields from their JSON."""
    return tuple((str(name), str(value)) for name, value in json.loads(text))


def digest_from(text: str) -> Digest:
    """A digest from `algorithm:hex`."""
    algorithm, _, digits = text.partition(":")
    if not digits:
        raise ValueError(text)
    return Digest(algorithm, digits)


def artifact_json(artifact: Artifact) -> str:
    """All parts of an artifact's name."""
    project = artifact.project
    kind = project.kind.value
    return json.dumps([project.ecosystem, kind, project.name, project.hub, project.hub_id, artifact.revision, artifact.path])


def artifact_from(text: str) -> Artifact:
    """What `artifact_json` wrote."""
    ecosystem, kind, name, hub, hub_id, revision, path = json.loads(text)
    return Artifact(Project(ecosystem, Kind(kind), name, hub, hub_id), revision, path)
