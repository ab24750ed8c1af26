"""The pages of an audit pack that people read: policies in force, lists and their age, outages, keys. Pure but for what it is given."""

from __future__ import annotations

import csv
import io
import json
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from mirror.audit.pack_timeline import list_days, list_rows, outage_rows, policy_rows
from mirror.core.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mirror.audit.custody import Custody
    from mirror.audit.evidence import Reading
    from mirror.audit.pack_timeline import Timeline

#: How the names of texts begin that were signed beside a policy's own files.
_BESIDE: Final = ("waivers/", "denies/", "releases/", "refusals/")


def pages_of(
    timeline: Timeline, span: tuple[str, str], read: Reading, noted: Callable[[str, str], Mapping[str, Any] | None], custody: Custody
) -> Iterator[tuple[str, bytes]]:
    """Each page by its name. `span` are the moments from which and up to which (exclusive) the pack is."""
    policies = policy_rows(timeline, partial(base_of, read))
    yield "timeline.json", _json({"policies": policies, "statements": timeline.statements, "rejected": timeline.rejected})
    columns: tuple[str, ...] = ("policy", "from", "until", "seq", "how", "number", "requested_by", "approved_by", "envelope")
    yield "timeline.csv", _csv(columns, map(_flat, policies))
    lists = list_rows(timeline, noted, span[1])
    yield "lists.json", _json(lists)
    columns = ("day", "list", "edition", "fetched_at", "age_days", "stated", "stated_age_days")
    yield "lists.csv", _csv(columns, list_days(lists, *span))
    yield "outages.json", _json(outage_rows(timeline))
    yield "keys.json", _json({
        "ledger": custody.origin,
        "keys": [{"seq": era.sequence, "key": era.verifier.text, "how": era.how, "over_records": era.statement.size} for era in custody.eras],
        "gaps": [{"seq": gap.sequence, "since": gap.since, "published": gap.published} for gap in custody.gaps],
    })  # fmt: skip


def rested_on(timeline: Timeline, read: Reading) -> set[int]:
    """The records on which the pages rest: the first policy and lists, approvals of policies, adoptions of editions."""
    approvals = (row["activation"] for row in policy_rows(timeline, partial(base_of, read)))
    adoptions = (timeline.adoption(name, one) for name, spans in timeline.lists.items() for one in spans)
    return {*timeline.grounds.values(), *(row["seq"] for row in approvals if row), *(found[1] for found in adoptions if found)}


def base_of(read: Reading, digest: str) -> tuple[str, list[str]] | None:
    """The digest of a policy's own files, and the names of all that judged with it; None where the archive does not have it."""
    found = read(digest)
    if isinstance(found, str):
        return None
    try:
        texts = [[str(name), str(text)] for name, text in json.loads(found[1])]
    except (ValueError, TypeError):
        return None
    own = [pair for pair in texts if not pair[0].startswith(_BESIDE)]
    return sha256(canonical(own)).hexdigest(), [name for name, _ in texts]


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    activation = row["activation"] or {}
    return {**row, **activation, "seq": row["seq"], "approved_by": " ".join(activation.get("approved_by", ()))}


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"


def _csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    """RFC 4180. A text that a spreadsheet would take for a formula has an apostrophe before it."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_harmless(row.get(name)) for name in columns] for row in rows)
    return out.getvalue().encode()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
