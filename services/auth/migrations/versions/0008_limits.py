"""When a refresh token itself expires, and indexes for what is removed after its end."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Those of before expire with their session."""
    op.add_column("refresh_tokens", sa.Column("expire_time", sa.DateTime(timezone=True)), schema="auth")
    op.execute(
        "UPDATE auth.refresh_tokens SET expire_time = sessions.expire_time "
        "FROM auth.sessions WHERE sessions.session_id = refresh_tokens.session_id"
    )
    op.alter_column("refresh_tokens", "expire_time", nullable=False, schema="auth")
    op.create_index(
        "used_refresh_tokens_by_age",
        "refresh_tokens",
        ["expire_time"],
        schema="auth",
        postgresql_where=sa.text("use_time IS NOT NULL"),
    )
    op.create_index("api_keys_by_end", "api_keys", [sa.text("LEAST(revoke_time, expire_time)")], schema="auth")
