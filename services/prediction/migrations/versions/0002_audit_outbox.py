"""What waits to be put into the audit chain."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
        schema="prediction",
    )


def downgrade() -> None:
    """Drop it; what it holds is lost."""
    op.drop_table("audit_outbox", schema="prediction")
