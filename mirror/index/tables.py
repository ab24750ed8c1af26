"""The tables.

Times are whole microseconds since 1970 UTC, which both engines keep exactly; texts that others choose (paths, URLs) are
keyed by their SHA-256, because PostgreSQL bounds an index entry at a third of a page.

Alembic's revisions under `migrations/` make these same tables; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

documents = Table(
    "documents",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("hub", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("headers", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("coding", String(8), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("fetched_at", BigInteger, nullable=False),
    Column("max_age", BigInteger),
)

entries = Table(
    "entries",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("artifact", Text, nullable=False),
    Column("digest", String(160), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("headers", Text, nullable=False),
    Column("declared", String(160)),
    Column("restriction", Text, nullable=False),
    Column("stored_at", BigInteger, nullable=False),
    Column("last_used", BigInteger, nullable=False),
    Index("entries_by_use", "last_used"),
    Index("entries_by_digest", "digest"),
)

grants = Table(
    "grants",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("credential", Text, nullable=False),
    Column("project", Text, nullable=False),
    Column("allowed", Boolean, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("message", Text, nullable=False),
    Column("cause", Text, nullable=False),
)

places = Table(
    "places",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("hub", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("artifact", Text, nullable=False),
    Column("digest", String(160)),
    Column("size", BigInteger),
    Column("url", Text, nullable=False),
    Column("published_at", BigInteger),
)

pins = Table(
    "pins",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("pattern", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
)

#: Mirror tokens, by keyed hash alone. `changed` rises with every change of any row.
tokens = Table(
    "tokens",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("groups", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("changed", BigInteger, nullable=False),
)

#: How files came, from the ledger's events; `artifact` is cut as in `events`, `record` is JSON.
acquisitions = Table(
    "acquisitions",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("artifact", String(500).with_variant(String(500, collation="C"), "postgresql"), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("record", Text, nullable=False),
    Index("acquisitions_by_artifact", "artifact", "seq"),
)

#: What reviewers found of matches on lists; `recorded` is 1 once the ledger has it.
findings = Table(
    "findings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("subject_digest", String(64), nullable=False),
    Column("list", Text, nullable=False),
    Column("entry", Text, nullable=False),
    Column("entry_digest", String(64), nullable=False),
    Column("finding", String(16), nullable=False),
    Column("by", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("recorded", Integer, nullable=False),
)

#: One narrow row a record, walked newest first; `artifact` is cut to what an index entry holds.
events = Table(
    "events",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("decision", String(64)),
    Column("artifact", String(500).with_variant(String(500, collation="C"), "postgresql")),
    Column("outcome", Integer, nullable=False),  # the number in core.questions.OUTCOMES, from 1; 0 answers nobody
    Column("requests", BigInteger, nullable=False),
    Index("events_by_decision", "decision"),
    Index("events_by_artifact", "artifact", "seq"),
    Index("events_by_time", "seq", "at"),  # covers a walk that looks at times only
    Index("events_by_moment", "at", "seq"),
)

#: The record itself without its personal part, compressed JSON.
event_records = Table(
    "event_records",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("record", LargeBinary, nullable=False),
)

#: What erasure deletes: a record's personal part, here as in the ledger kept apart.
event_personal = Table(
    "event_personal",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("personal", LargeBinary, nullable=False),
)

#: Everything one can ask by: (facet, term) -> sequences, with time, outcome and count so that pages and sums are found here alone.
event_terms = Table(
    "event_terms",
    metadata,
    Column("facet", String(16), primary_key=True),
    Column("term", String(200), primary_key=True),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("outcome", Integer, nullable=False),
    Column("requests", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

#: What retention removed of the ledger, as its `counts` records sum it up: a row for each group, of which one has `lead` 1.
event_counts = Table(
    "event_counts",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("row", Integer, primary_key=True, autoincrement=False),
    Column("lead", Integer, nullable=False),
    Column("day", BigInteger, nullable=False),
    Column("artifact", String(500).with_variant(String(500, collation="C"), "postgresql"), nullable=False),
    Column("publisher", String(200), nullable=False),
    Column("group", String(200), nullable=False),
    Column("country", String(8), nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Index("event_counts_by_day", "day"),
)
