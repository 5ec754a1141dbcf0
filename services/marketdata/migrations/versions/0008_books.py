"""Order books: whole ones and their changes, partitions by time."""

from alembic import op

revision = "0008"
down_revision = "0007"

# The levels of a side are two arrays, prices and quantities: a row for each level would cost ten times as much.
_STATEMENTS = (
    """
    CREATE TABLE marketdata.book_snapshots (
        symbol         text NOT NULL,
        sequence       bigint NOT NULL CHECK (sequence > 0),
        update_id      bigint NOT NULL,
        consistent     boolean NOT NULL,
        bid_prices     numeric[] NOT NULL,
        bid_quantities numeric[] NOT NULL CHECK (cardinality(bid_quantities) = cardinality(bid_prices)),
        ask_prices     numeric[] NOT NULL,
        ask_quantities numeric[] NOT NULL CHECK (cardinality(ask_quantities) = cardinality(ask_prices)),
        event_time     timestamptz NOT NULL,
        receive_time   timestamptz NOT NULL,
        PRIMARY KEY (symbol, sequence, event_time)
    ) PARTITION BY RANGE (event_time)
    """,
    """
    CREATE TABLE marketdata.book_deltas (
        symbol          text NOT NULL,
        sequence        bigint NOT NULL CHECK (sequence > 0),
        first_update_id bigint NOT NULL,
        last_update_id  bigint NOT NULL CHECK (last_update_id >= first_update_id),
        bid_prices      numeric[] NOT NULL,
        bid_quantities  numeric[] NOT NULL CHECK (cardinality(bid_quantities) = cardinality(bid_prices)),
        ask_prices      numeric[] NOT NULL,
        ask_quantities  numeric[] NOT NULL CHECK (cardinality(ask_quantities) = cardinality(ask_prices)),
        event_time      timestamptz NOT NULL,
        receive_time    timestamptz NOT NULL,
        PRIMARY KEY (symbol, sequence, event_time)
    ) PARTITION BY RANGE (event_time)
    """,
)


def upgrade() -> None:
    """Make the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
