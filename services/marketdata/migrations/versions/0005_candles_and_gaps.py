"""More intervals, corrections, gaps and backfills."""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Change the tables."""
