"""The OCI documents of a bundle (image-spec 1.1: image-layout.md, manifest.md, image-index.md). Pure.

`index.json` names one image index; that names the *head* manifest, whose only layer is the signed statement, and the
*content* manifests, whose layers are the parts. The statement's subjects are the content manifests, so that each part's
digest, size, type and title are signed for. Manifests have one byte form: what is read is written again and compared. The index
and `index.json` only lead there, and other tools write them anew when they copy a bundle.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from mirror.bundle.faults import BundleFault
from mirror.core.canonical import canonical, instant
from mirror.core.nouns import Digest
from mirror.decode import parse_json

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
ENVELOPE: Final = "application/vnd.dsse.envelope.v1+json"
#: `artifactType` of the image index and its head, and of the manifests that hold the parts.
BUNDLE: Final = "application/vnd.entrepot.bundle.v1"
PARTS: Final = "application/vnd.entrepot.bundle.parts.v1"

TITLE: Final = "org.opencontainers.image.title"
CREATED: Final = "org.opencontainers.image.created"
REFERENCE: Final = "org.opencontainers.image.ref.name"
#: The tag of the one image index, and the title of the statement.
TAG: Final = "bundle"
STATEMENT: Final = "statement.dsse.json"

LAYOUT: Final = canonical({"imageLayoutVersion": "1.0.0"})
NOTHING: Final = b"{}"
NOTHING_HEX: Final = sha256(NOTHING).hexdigest()

#: Registries take manifests of 4 MiB (image-spec, distribution-spec 1.1); ours stay well below it.
MOST_LAYERS: Final = 1000
MOST_BYTES: Final = 2 * 1024 * 1024
#: What is read at most: a manifest or the image index, `index.json`, `oci-layout`, the statement; and how many manifests.
LARGEST: Final = 4 * 1024 * 1024
LARGEST_INDEX: Final = 1024 * 1024
LARGEST_LAYOUT: Final = 4096
LARGEST_STATEMENT: Final = 16 * 1024 * 1024
MOST_MANIFESTS: Final = 15_000
#: Bytes of all manifests together, which are read before it is known who signed: about a million parts.
LARGEST_TOGETHER: Final = 256 * 1024 * 1024
#: Bytes of a part: beyond what any file is, and within what JSON can carry.
LARGEST_PART: Final = 2**53 - 1

_HEX: Final = re.compile(r"[0-9a-f]{64}\Z")
_MEDIA: Final = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\Z")
_INSTANT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z\Z")
#: What no title holds: characters that a file system somewhere takes for something else.
_UNSAFE: Final = re.compile(
    '[\x00-\x1f\x7f-\x9f\\\\:*?"<>|\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]|[. ]\\Z'
)
_LONGEST_TITLE: Final = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """One blob of a bundle. `title`: a relative POSIX path that tells people and scanners what it is; it is no place to write to."""

    digest: Digest
    size: int
    media_type: str
    title: str


def part_of(data: bytes, media_type: str, title: str) -> Part:
    """The part that `data` is."""
    return Part(Digest("sha256", sha256(data).hexdigest()), len(data), media_type, title)


# --- titles -----------------------------------------------------------------------------------------------------------


def safe_title(text: str) -> str:
    """`text` as a title: relative, without dot segments; what a file system could take for something else is percent-encoded."""
    segments = [_UNSAFE.sub(_encoded, segment) for segment in text.split("/") if segment]
    title = "/".join(segments) or "unnamed"
    if len(title) > _LONGEST_TITLE:
        title = f"{title[: _LONGEST_TITLE - 20]}~{sha256(title.encode()).hexdigest()[:16]}"
    return title


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))


def apart(parts: Iterable[Part]) -> list[Part]:
    """The parts in order of their titles, which differ in more than their case afterwards."""
    found: dict[str, Part] = {}
    for part in sorted(parts, key=lambda part: (part.title, part.digest.hex)):
        title, tries = part.title, 0
        while title.casefold() in found:
            title = safe_title(
                f"{part.title[: _LONGEST_TITLE - 40]}~{part.digest.hex[:16]}{f'.{tries}' if tries else ''}"
            )
            tries += 1
        found[title.casefold()] = Part(part.digest, part.size, part.media_type, title)
    return sorted(found.values(), key=lambda part: part.title)


# --- writing ----------------------------------------------------------------------------------------------------------


def descriptor(part: Part) -> dict[str, Any]:
    """A layer."""
    return {
        "annotations": {TITLE: part.title}, "digest": str(part.digest), "mediaType": part.media_type, "size": part.size,
    }  # fmt: skip


def manifest(parts: Sequence[Part]) -> bytes:
    """A content manifest: its layers are these parts."""
    return _manifest(PARTS, parts, {})


def head(envelope: Part, created: datetime) -> bytes:
    """The head manifest: its only layer is the signed statement."""
    return _manifest(BUNDLE, (envelope,), {CREATED: instant(created)})


def _manifest(kind: str, parts: Sequence[Part], annotations: Mapping[str, str]) -> bytes:
    raw: dict[str, Any] = {
        "artifactType": kind, "config": {"digest": f"sha256:{NOTHING_HEX}", "mediaType": EMPTY, "size": len(NOTHING)},
        "layers": [descriptor(part) for part in parts], "mediaType": MANIFEST, "schemaVersion": 2,
    }  # fmt: skip
    return canonical(raw | ({"annotations": annotations} if annotations else {}))


def manifests(parts: Iterable[Part]) -> Iterator[bytes]:
    """As many content manifests as these parts need; a function of the parts alone, whatever their order."""
    held: list[Part] = []
    size = 0
    for part in apart(parts):
        length = len(canonical(descriptor(part))) + 1
        if held and (len(held) == MOST_LAYERS or size + length > MOST_BYTES):
            yield manifest(held)
            held, size = [], 0
        held.append(part)
        size += length
    yield manifest(held)


def image_index(head: Part, contents: Sequence[Part]) -> bytes:
    """The image index over the head and the content manifests."""
    rows = [
        {"artifactType": kind, "digest": str(part.digest), "mediaType": MANIFEST, "size": part.size}
        for part, kind in ((head, BUNDLE), *((one, PARTS) for one in contents))
    ]
    return canonical({"artifactType": BUNDLE, "manifests": rows, "mediaType": INDEX, "schemaVersion": 2})


def index_json(index: Part) -> bytes:
    """`index.json`, which names the image index."""
    row = {
        "annotations": {REFERENCE: TAG}, "artifactType": BUNDLE, "digest": str(index.digest), "mediaType": INDEX, "size": index.size,
    }  # fmt: skip
    return canonical({"manifests": [row], "mediaType": INDEX, "schemaVersion": 2})


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest as it was read. `created` is empty in those that hold the parts."""

    kind: str
    parts: tuple[Part, ...]
    created: str = ""


def read_layout(data: bytes) -> None:
    """Check `oci-layout`. Raises `BundleFault`."""
    raw = _json(data, "oci-layout")
    if not isinstance(raw, dict) or raw.get("imageLayoutVersion") != "1.0.0":
        raise BundleFault("oci-layout", "is not an OCI image layout of version 1.0.0")


def read_index_json(data: bytes) -> Part:
    """The image index that `index.json` names, as any tool may have written it. Raises `BundleFault`.

    Whatever else stands here is not believed: the digest leads to bytes that are signed for, or to nothing.
    """
    raw = _json(data, "index.json")
    rows = raw.get("manifests") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or len(rows) != 1:
        raise BundleFault("index.json", "does not name one image: a bundle has exactly one")
    if not isinstance(rows[0], dict) or rows[0].get("mediaType") != INDEX:
        raise BundleFault("index.json", f"does not name an image index ({INDEX}): this is no bundle")
    return _target(rows[0], "index.json: manifests[0]", INDEX, "", LARGEST)


def read_image_index(data: bytes) -> tuple[Part, ...]:
    """The manifests that the image index names, as any tool may have written it. Raises `BundleFault`."""
    place = "image index"
    raw = _json(data, place)
    rows = raw.get("manifests") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or len(rows) < 2:
        raise BundleFault(place, "is not the one of a bundle")
    if len(rows) > MOST_MANIFESTS + 1:
        raise BundleFault(place, f"names more than {MOST_MANIFESTS} manifests")
    named = tuple(_target(row, f"{place}: manifests[{at}]", MANIFEST, "", LARGEST) for at, row in enumerate(rows))
    if len({one.digest.hex for one in named}) != len(named):
        raise BundleFault(place, "names a manifest twice")
    if sum(one.size for one in named) > LARGEST_TOGETHER:
        raise BundleFault(place, f"names manifests of more than {LARGEST_TOGETHER} bytes together")
    return named


def read_manifest(data: bytes, place: str) -> Manifest:
    """A manifest of a bundle. Raises `BundleFault` for any other bytes."""
    raw = _json(data, place)
    rows = raw.get("layers") if isinstance(raw, dict) else None
    if not isinstance(rows, list) or not rows or raw.get("artifactType") not in (BUNDLE, PARTS):
        raise BundleFault(place, "is no manifest of a bundle")
    if len(rows) > MOST_LAYERS:
        raise BundleFault(place, f"has more than {MOST_LAYERS} layers")
    parts = tuple(_layer(row, f"{place}: layers[{at}]") for at, row in enumerate(rows))
    created = raw["annotations"].get(CREATED) if isinstance(raw.get("annotations"), dict) else ""
    found = Manifest(raw["artifactType"], parts, created if isinstance(created, str) else "")
    if found.kind == BUNDLE and not _INSTANT.match(found.created):
        raise BundleFault(place, "does not say when the bundle was made")
    if _manifest(found.kind, parts, {CREATED: found.created} if found.created else {}) != data:
        raise BundleFault(place, "is not written as manifests of bundles are")
    return found


def _layer(row: Any, place: str) -> Part:
    annotations = row.get("annotations") if isinstance(row, dict) else None
    title = annotations.get(TITLE) if isinstance(annotations, dict) else None
    if not isinstance(title, str) or title != safe_title(title):
        raise BundleFault(place, "has no title, or one that is not a plain relative path")
    media_type = row.get("mediaType")
    if not isinstance(media_type, str) or not _MEDIA.match(media_type):
        raise BundleFault(place, "has no media type")
    return _target(row, place, media_type, title, LARGEST_PART)


def _target(row: Any, place: str, media_type: str, title: str, most: int) -> Part:
    if not isinstance(row, dict) or row.get("mediaType") != media_type:
        raise BundleFault(place, f"is no descriptor of {media_type}")
    digest, size = row.get("digest"), row.get("size")
    if not isinstance(digest, str) or not digest.startswith("sha256:") or not _HEX.match(digest[7:]):
        raise BundleFault(place, "has no SHA-256 digest")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= most:
        raise BundleFault(place, f"has no size, or one beyond {most} bytes")
    return Part(Digest("sha256", digest[7:]), size, media_type, title)


def _json(data: bytes, place: str) -> Any:
    try:
        return parse_json(data)
    except ValueError as error:  # UnicodeDecodeError is one
        said = str(error) if "nested" in str(error) else "is not JSON"
        raise BundleFault(place, said) from None


def by_digest(parts: Iterable[Part]) -> Mapping[str, Part]:
    """The parts of all content manifests by the hex of their SHA-256. Raises `BundleFault` where two are in each other's way."""
    found: dict[str, Part] = {}
    titles: set[str] = set()
    for part in parts:
        if part.digest.hex in found:
            raise BundleFault(f"blob {part.digest.hex}", "is named twice")
        if part.title.casefold() in titles:
            raise BundleFault(
                f"blob {part.digest.hex}", f"has the title of another, {part.title!r}, but for upper and lower case"
            )
        found[part.digest.hex] = part
        titles.add(part.title.casefold())
    return found
