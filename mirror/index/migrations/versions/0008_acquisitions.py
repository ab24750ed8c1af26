"""How files came: taken from the ledger's events, of which there are none before this release."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table of acquisitions."""
    op.create_table(
        "acquisitions",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("artifact", sa.String(500).with_variant(sa.String(500, collation="C"), "postgresql"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("record", sa.Text, nullable=False),
    )
    op.create_index("acquisitions_by_artifact", "acquisitions", ["artifact", "seq"])
