"""Sessions, their refresh tokens, and the life of signing keys."""

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
