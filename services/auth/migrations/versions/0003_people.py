"""Second factors, failed logins, disabled users and rate tiers."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables."""
    op.add_column("users", sa.Column("disabled", sa.Boolean, nullable=False, server_default=sa.false()), schema="auth")
    op.add_column("users", sa.Column("given_tier", sa.Text), schema="auth")
    op.create_check_constraint("known_tiers", "users", "given_tier IN ('standard', 'elevated')", schema="auth")
    op.create_table(
        "authenticators",
        sa.Column("user_id", sa.Uuid, sa.ForeignKey("auth.users.user_id", ondelete="CASCADE"), primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("confirmed", sa.Boolean, nullable=False),
        sa.Column("last_step", sa.BigInteger, nullable=False),
        schema="auth",
    )
    op.create_table(
        "recovery_codes",
        sa.Column(
            "user_id", sa.Uuid, sa.ForeignKey("auth.authenticators.user_id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("code_hash", sa.LargeBinary, primary_key=True),
        sa.Column("used", sa.Boolean, nullable=False),
        schema="auth",
    )
    op.create_table(
        "failed_logins",
        sa.Column("login_name", sa.Text, primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_time", sa.DateTime(timezone=True), nullable=False),
        schema="auth",
    )
    op.create_index("failed_logins_by_age", "failed_logins", ["last_time"], schema="auth")
