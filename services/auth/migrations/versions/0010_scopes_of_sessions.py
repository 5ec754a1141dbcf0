"""What a session is limited to, and by what a client knows the answer to its request again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Sessions of before are limited by nothing but the roles."""
    op.add_column("sessions", sa.Column("scopes", postgresql.ARRAY(sa.Text)), schema="auth")
    op.add_column("authorization_codes", sa.Column("nonce", sa.Text, nullable=False, server_default=""), schema="auth")
