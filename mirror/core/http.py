"""HTTP semantics, pure: ranges (RFC 9110 section 14), conditions (section 13), `Cache-Status` (RFC 9211)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final

from mirror.core.nouns import Span
from mirror.core.spans import SpanSet

#: More ranges than this in one request are a range bomb (RFC 9110 section 17.15): the header is ignored.
MAX_RANGES: Final = 32
#: A longer `Range` value is ignored unread.
MAX_RANGE_HEADER: Final = 4096
#: More overlapping ranges than this make the header ignored (RFC 9110 section 14.2).
MAX_OVERLAPS: Final = 2

_RANGE_SPEC: Final = re.compile(r"(\d{1,19})-(\d{0,19})|-(\d{1,19})", re.ASCII)
_ENTITY_TAG: Final = re.compile(r'\s*(?:,\s*)*((?:W/)?"[\x21\x23-\x7e\x80-\U0010ffff]*")\s*(?=,|$)')
_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Full:
    """200 with the whole representation."""


@dataclass(frozen=True, slots=True)
class Partial:
    """206 with `spans`: at least one, none empty, disjoint, within the representation, in the order asked for."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class NotModified:
    """304."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416 with `Content-Range: bytes */size`."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """412."""


Outcome = Full | Partial | NotModified | Unsatisfiable | PreconditionFailed


@dataclass(frozen=True, slots=True)
class Conditions:
    """The request header fields that decide the outcome, each verbatim, None when absent."""

    range: str | None = None
    if_range: str | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since: str | None = None
    if_unmodified_since: str | None = None


def select(
    method: str, conditions: Conditions, *, etag: str, last_modified: datetime | None, size: int | None
) -> Outcome:
    """What to answer for a representation that exists, in the order of RFC 9110 section 13.2.2.

    `etag` is the entity tag as it will be sent (with quotes, `W/` if weak). `size` None (not yet known) ignores
    `Range`. A range counts for GET only (section 14.2) and never for an empty representation, which no
    `Content-Range` can describe. A malformed or bomb-like `Range` is ignored; one beyond the end is `Unsatisfiable`.
    """
    if conditions.if_match is not None:
        if not matches(conditions.if_match, etag, weak=False):
            return PreconditionFailed()
    elif _later(last_modified, conditions.if_unmodified_since):
        return PreconditionFailed()
    if conditions.if_none_match is not None:
        if matches(conditions.if_none_match, etag, weak=True):
            return NotModified() if method in ("GET", "HEAD") else PreconditionFailed()
    elif method in ("GET", "HEAD") and _not_later(last_modified, conditions.if_modified_since):
        return NotModified()
    if method != "GET" or conditions.range is None or not size:
        return Full()
    if conditions.if_range is not None and not _still(conditions.if_range, etag, last_modified):
        return Full()
    spans = parse_range(conditions.range, size)
    if spans is None:
        return Full()
    return Partial(spans) if spans else Unsatisfiable()


def parse_range(value: str, size: int) -> tuple[Span, ...] | None:
    """The satisfiable spans of a `Range` value, overlapping ones joined; `()` if none is; None if it is to be ignored."""
    if len(value) > MAX_RANGE_HEADER:
        return None
    unit, equals, rest = value.partition("=")
    if not equals or unit.strip().lower() != "bytes":
        return None  # RFC 9110 section 14.2: an unknown unit MUST be ignored
    spans: list[Span] = []
    for count, part in enumerate(_listed(rest), 1):
        spec = _RANGE_SPEC.fullmatch(part)
        if spec is None or count > MAX_RANGES:
            return None
        if spec[3] is not None:
            span = Span(max(0, size - int(spec[3])), size)
        elif spec[2] and int(spec[2]) < int(spec[1]):
            return None  # section 14.1.1: invalid, and so is the whole set
        else:
            stop = min(size, int(spec[2]) + 1) if spec[2] else size
            span = Span(min(int(spec[1]), stop), stop)
        if len(span):
            spans.append(span)
    return None if not rest.strip(" \t,") else _joined(spans)


def _listed(value: str) -> list[str]:
    """The members of a comma-separated list; empty ones do not count (RFC 9110 section 5.6.1)."""
    return [part for part in (part.strip(" \t") for part in value.split(",")) if part]


def _joined(spans: list[Span]) -> tuple[Span, ...] | None:
    """Overlapping spans as one, at the place of the first of them; None for too many overlaps."""
    union = SpanSet(spans)
    if sum(map(len, spans)) - union.total and len(spans) - len(list(union)) >= MAX_OVERLAPS + 1:
        return None
    order: dict[Span, None] = {}
    for span in spans:
        whole = next(part for part in union if part.start <= span.start and span.stop <= part.stop)
        order.setdefault(whole)
    return tuple(order)


def matches(field: str, etag: str, *, weak: bool) -> bool:
    """Whether `If-Match` (strong comparison) or `If-None-Match` (`weak`) names `etag` (RFC 9110 section 8.8.3.2)."""
    if field.strip() == "*":
        return True
    return any(_same_tag(tag, etag, weak=weak) for tag in _tags(field))


def _tags(field: str) -> list[str]:
    """The well-formed entity tags at the front of a list; what follows a malformed one is not believed."""
    tags: list[str] = []
    position = 0
    while found := _ENTITY_TAG.match(field, position):
        tags.append(found[1])
        position = found.end()
    return tags


def _same_tag(one: str, other: str, *, weak: bool) -> bool:
    if weak:
        return one.removeprefix("W/") == other.removeprefix("W/")
    return one == other and not one.startswith("W/")


def _still(if_range: str, etag: str, last_modified: datetime | None) -> bool:
    """Whether `If-Range` vouches that the client's part is of this representation (RFC 9110 section 13.1.5)."""
    value = if_range.strip()
    if value.startswith(('"', "W/")):
        return _same_tag(value, etag, weak=False)
    return last_modified is not None and parse_date(value) == last_modified.astimezone(UTC).replace(microsecond=0)


def _later(last_modified: datetime | None, field: str | None) -> bool:
    moment = None if field is None else parse_date(field)
    return moment is not None and last_modified is not None and last_modified.replace(microsecond=0) > moment


def _not_later(last_modified: datetime | None, field: str | None) -> bool:
    moment = None if field is None else parse_date(field)
    return moment is not None and last_modified is not None and last_modified.replace(microsecond=0) <= moment


def parse_date(value: str) -> datetime | None:
    """An HTTP date (RFC 9110 section 5.6.7), aware UTC; None if it is none."""
    try:
        moment = parsedate_to_datetime(value.strip())
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def http_date(moment: datetime) -> str:
    """IMF-fixdate (RFC 9110 section 5.6.7) of an aware moment."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def content_range(span: Span, size: int) -> str:
    """The `Content-Range` value of a part (RFC 9110 section 14.4); `span` is not empty."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


def parse_content_range(value: str) -> tuple[Span, int | None] | None:
    """A `Content-Range` value as its span and the whole size (None for `*`); None when it is malformed."""
    found = _CONTENT_RANGE.fullmatch(value.strip())
    if found is None or int(found[2]) < int(found[1]):
        return None
    span = Span(int(found[1]), int(found[2]) + 1)
    size = None if found[3] == "*" else int(found[3])
    return None if size is not None and span.stop > size else (span, size)


def cache_status(origin: str, *, verified: bool, detail: str = "") -> str:
    """A `Cache-Status` value (RFC 9211). `origin` is made of its parameters (`hit`, `fwd=miss; collapsed`).

    `unverified` is our own parameter: the bytes leave before, or without, a declared digest vouching for them (P3).
    """
    parts = ["entrepot", origin] if origin else ["entrepot"]
    if not verified:
        parts.append("unverified")
    if detail:
        # RFC 9651 section 3.3.3: a string is printable ASCII with two escapes.
        text = "".join(char if " " <= char <= "~" else "?" for char in detail)
        parts.append('detail="' + text.replace("\\", "\\\\").replace('"', '\\"') + '"')
    return "; ".join(parts)
