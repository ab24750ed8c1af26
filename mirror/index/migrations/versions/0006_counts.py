"""Counts of what retention removed. What is there of the ledger is a copy: it is made anew from the segments."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Empty the copy, so that the feed fills it again with what repeats inherit, and make the table of counts."""
    for table in ("events", "event_records", "event_personal", "event_terms"):
        op.execute(sa.text(f"DELETE FROM {table}"))  # noqa: S608 - the four names above
    op.create_table(
        "event_counts",
        sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("row", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("lead", sa.Integer, nullable=False),
        sa.Column("day", sa.BigInteger, nullable=False),
        sa.Column("artifact", sa.String(500).with_variant(sa.String(500, collation="C"), "postgresql"), nullable=False),
        sa.Column("publisher", sa.String(200), nullable=False),
        sa.Column("group", sa.String(200), nullable=False),
        sa.Column("country", sa.String(8), nullable=False),
        sa.Column("events", sa.BigInteger, nullable=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
    )
    op.create_index("event_counts_by_day", "event_counts", ["day"])
