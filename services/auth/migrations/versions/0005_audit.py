"""The audit chain, and what waits to be put into it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"

_REFUSE = """
CREATE FUNCTION auth.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit chain is only ever appended to' USING ERRCODE = 'insufficient_privilege';
END
$$
"""
_TRIGGERS = (
    "CREATE TRIGGER rows_stay BEFORE UPDATE OR DELETE ON auth.audit_events "
    "FOR EACH ROW EXECUTE FUNCTION auth.refuse_change()",
    "CREATE TRIGGER table_stays BEFORE TRUNCATE ON auth.audit_events "
    "FOR EACH STATEMENT EXECUTE FUNCTION auth.refuse_change()",
    "ALTER TABLE auth.audit_events ENABLE ALWAYS TRIGGER rows_stay",
    "ALTER TABLE auth.audit_events ENABLE ALWAYS TRIGGER table_stays",
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "audit_outbox",
        sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("event", sa.LargeBinary, nullable=False),
        schema="auth",
    )
    texts = ("service", "action", "actor", "session_id", "address", "outcome", "status")
    op.create_table(
        "audit_events",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("event_id", sa.Uuid, nullable=False, unique=True),
        sa.Column("event_time", sa.DateTime(timezone=True), nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in texts),
        sa.Column("subject", postgresql.JSONB, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.CheckConstraint("sequence > 0", name="counts_from_one"),
        schema="auth",
    )
    for column in ("actor", "action", "outcome", "event_time"):
        op.create_index(f"audit_events_by_{column}", "audit_events", [column, "sequence"], schema="auth")
    for statement in (_REFUSE, *_TRIGGERS):
        op.execute(statement)


def downgrade() -> None:
    """Drop them; the chain is lost."""
    for table in ("audit_events", "audit_outbox"):
        op.drop_table(table, schema="auth")
    op.execute("DROP FUNCTION auth.refuse_change()")
