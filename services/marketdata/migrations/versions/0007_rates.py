"""Reference rates of currencies."""

from alembic import op

revision = "0007"
down_revision = "0006"

_STATEMENTS = (
    """
    CREATE TABLE marketdata.rates (
        source text NOT NULL,
        base   text NOT NULL,
        day    date NOT NULL,
        quote  text NOT NULL CHECK (quote <> base),
        rate   numeric NOT NULL CHECK (rate > 0),
        PRIMARY KEY (source, base, day, quote)
    )
    """,
    "CREATE INDEX rates_day ON marketdata.rates (day, quote)",
)


def upgrade() -> None:
    """Make the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
