"""Rows that broke a rule."""

from alembic import op

revision = "0006"
down_revision = "0005"

_STATEMENTS = (
    """
    CREATE TABLE marketdata.quarantine (
        row_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source       text NOT NULL,
        symbol       text NOT NULL,
        channel      text NOT NULL,
        reason       text NOT NULL,
        detail       text NOT NULL,
        raw          text NOT NULL,
        content      jsonb,
        receive_time timestamptz NOT NULL,
        replay_time  timestamptz
    )
    """,
    # A source that tells the same wrong row again and again fills nothing.
    """
    CREATE UNIQUE INDEX quarantine_once ON marketdata.quarantine (source, symbol, channel, reason, md5(raw))
    """,
    "CREATE INDEX quarantine_symbol ON marketdata.quarantine (symbol, row_id)",
    "CREATE INDEX quarantine_time ON marketdata.quarantine (receive_time)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
