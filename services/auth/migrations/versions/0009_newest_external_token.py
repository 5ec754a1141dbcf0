"""What the newest token of a person whom another issuer vouches for has said."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Of those of before only the roles are known."""
    op.add_column(
        "external_people",
        sa.Column("issue_time", sa.DateTime(timezone=True), nullable=False, server_default="epoch"),
        schema="auth",
    )
    op.add_column(
        "external_people",
        sa.Column("roles", postgresql.ARRAY(sa.Text), nullable=False, server_default="{}"),
        schema="auth",
    )
    op.execute(
        "UPDATE auth.external_people SET roles = users.roles FROM auth.users "
        "WHERE users.user_id = external_people.user_id"
    )
