"""Lines of trades, and who leads a source."""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Change the tables."""
