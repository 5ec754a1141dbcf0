"""API keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.Uuid, primary_key=True),
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("auth.users.user_id", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("prefix", sa.Text, nullable=False, unique=True),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("previous_hash", sa.LargeBinary),
        sa.Column("previous_expire_time", sa.DateTime(timezone=True)),
        sa.Column("scopes", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("networks", postgresql.ARRAY(sa.Text), nullable=False),
        sa.Column("given_tier", sa.Text),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_use_time", sa.DateTime(timezone=True)),
        sa.Column("revoke_time", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'trade', 'admin']", name="known_scopes"
        ),
        sa.CheckConstraint("given_tier IN ('standard', 'elevated')", name="known_key_tiers"),
        sa.CheckConstraint("(previous_hash IS NULL) = (previous_expire_time IS NULL)", name="previous_secret_ends"),
        schema="auth",
    )
    op.create_index("api_keys_of_user", "api_keys", ["user_id", "create_time", "key_id"], schema="auth")
