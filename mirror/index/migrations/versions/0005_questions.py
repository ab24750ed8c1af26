"""Sums of answers, and ancestors whatever their case. What is there of the ledger is a copy: it is made anew from the segments."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty the copy, so that the feed fills it again, and make its tables as they are now."""
    for table in ("events", "event_terms"):
        op.drop_table(table)
    for table in ("event_records", "event_personal"):
        op.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - the two names above
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.String(64)),
        sa.Column("artifact", sa.String(500).with_variant(sa.String(500, collation="C"), "postgresql")),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
    )
    op.create_index("events_by_decision", "events", ["decision"])
    op.create_index("events_by_artifact", "events", ["artifact", "seq"])
    op.create_index("events_by_time", "events", ["seq", "at"])
    op.create_index("events_by_moment", "events", ["at", "seq"])
    op.create_table(
        "event_terms",
        sa.Column("facet", sa.String(16), primary_key=True),
        sa.Column("term", sa.String(200), primary_key=True),
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("outcome", sa.Integer, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
