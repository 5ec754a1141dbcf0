"""Sessions, their refresh tokens, what is revoked, and the life of signing keys."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("auth.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("refresh_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("end_time", sa.DateTime(timezone=True)),
        sa.Column("address", sa.Text, nullable=False),
        sa.Column("user_agent", sa.Text, nullable=False),
        schema="auth",
    )
    op.create_index("sessions_of_user", "sessions", ["user_id", "create_time", "session_id"], schema="auth")
    op.create_index("sessions_by_age", "sessions", ["expire_time"], schema="auth")
    op.create_table(
        "refresh_tokens",
        sa.Column("fingerprint", sa.LargeBinary, primary_key=True),
        sa.Column("session_id", sa.Uuid, sa.ForeignKey("auth.sessions.session_id", ondelete="CASCADE"), nullable=False),
        sa.Column("use_time", sa.DateTime(timezone=True)),
        sa.Column("request_id", sa.Uuid),
        sa.Column("answer", sa.LargeBinary),
        sa.CheckConstraint("(use_time IS NULL) = (request_id IS NULL)", name="used_by_a_request"),
        schema="auth",
    )
    op.create_index("refresh_tokens_of_session", "refresh_tokens", ["session_id"], schema="auth")
    op.create_index(
        "refresh_tokens_with_answer",
        "refresh_tokens",
        ["use_time"],
        schema="auth",
        postgresql_where=sa.text("answer IS NOT NULL"),
    )
    op.create_table(
        "revocations",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("revoke_time", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        schema="auth",
    )
    op.create_index("revocations_by_age", "revocations", ["revoke_time"], schema="auth")
    op.add_column("users", sa.Column("rights", sa.BigInteger, nullable=False, server_default="1"), schema="auth")
    op.add_column("users", sa.Column("sessions_end_time", sa.DateTime(timezone=True)), schema="auth")
    op.add_column("signing_keys", sa.Column("sign_time", sa.DateTime(timezone=True)), schema="auth")
    op.execute("UPDATE auth.signing_keys SET sign_time = create_time")
    op.alter_column("signing_keys", "sign_time", nullable=False, schema="auth")
