"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make every table of the first release."""
    _cache()
    _ledger()


def _cache() -> None:
    op.create_table(
        "documents",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("hub", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("coding", sa.String(8), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("fetched_at", sa.BigInteger, nullable=False),
        sa.Column("max_age", sa.BigInteger),
    )
    op.create_table(
        "entries",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("artifact", sa.Text, nullable=False),
        sa.Column("digest", sa.String(160), nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("headers", sa.Text, nullable=False),
        sa.Column("declared", sa.String(160)),
        sa.Column("restriction", sa.Text, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
        sa.Column("last_used", sa.BigInteger, nullable=False),
    )
    op.create_index("entries_by_use", "entries", ["last_used"])
    op.create_index("entries_by_digest", "entries", ["digest"])
    op.create_table(
        "grants",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("project", sa.Text, nullable=False),
        sa.Column("allowed", sa.Boolean, nullable=False),
        sa.Column("public", sa.Boolean, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("cause", sa.Text, nullable=False),
    )
    op.create_table(
        "places",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("hub", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("artifact", sa.Text, nullable=False),
        sa.Column("digest", sa.String(160)),
        sa.Column("size", sa.BigInteger),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("published_at", sa.BigInteger),
    )


def _ledger() -> None:
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.String(64)),
        sa.Column("artifact", sa.String(500).with_variant(sa.String(500, collation="C"), "postgresql")),
    )
    op.create_index("events_by_decision", "events", ["decision"])
    op.create_index("events_by_artifact", "events", ["artifact", "seq"])
    op.create_index("events_by_time", "events", ["seq", "at"])
    op.create_table(
        "event_records",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("record", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event_personal",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("personal", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "event_terms",
        sa.Column("facet", sa.String(16), primary_key=True),
        sa.Column("term", sa.String(200), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
