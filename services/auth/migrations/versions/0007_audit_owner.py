"""The audit chain belongs to a role of its own, and the role of auth may only add to it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_UNPREPARED = (
    "the administrator of the database has to run services/auth/migrations/administrator.sql in it first "
    "(`levimesh up` and docker-compose.yml do so by themselves)"
)


def upgrade() -> None:
    """Hand the chain over; there is no way back but by the administrator of the database."""
    if op.get_bind().scalar(sa.text("SELECT to_regprocedure('auth.take_over_audit_events()') IS NULL")):
        raise RuntimeError(_UNPREPARED)
    op.execute("SELECT auth.take_over_audit_events()")
