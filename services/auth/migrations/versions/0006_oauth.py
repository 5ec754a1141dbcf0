"""Authorization codes, and people whom other issuers vouch for."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "authorization_codes",
        sa.Column("code_hash", sa.LargeBinary, primary_key=True),
        sa.Column("client_id", sa.Text, nullable=False),
        sa.Column("redirect_uri", sa.Text, nullable=False),
        sa.Column("code_challenge", sa.Text, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("auth.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("uses", sa.Integer, nullable=False, server_default="0"),
        sa.Column("session_id", sa.Uuid),
        schema="auth",
    )
    op.create_index("authorization_codes_expiry", "authorization_codes", ["expire_time"], schema="auth")
    op.create_table(
        "external_people",
        sa.Column("issuer", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column(
            "user_id", sa.Uuid, sa.ForeignKey("auth.users.user_id", ondelete="CASCADE"), nullable=False, unique=True
        ),
        schema="auth",
    )
