"""Lines of trades, who leads a source, and how the sources are."""

from alembic import op

revision = "0004"
down_revision = "0003"

_STATEMENTS = (
    # (source, token) is a key, so that taking a lease over waits for the writers that hold the old token, and renewing
    # it does not.
    """
    CREATE TABLE marketdata.leases (
        source     text PRIMARY KEY,
        holder     text NOT NULL,
        token      bigint NOT NULL,
        expires_at timestamptz NOT NULL,
        UNIQUE (source, token)
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE marketdata.source_states (
        source            text PRIMARY KEY,
        state             text NOT NULL CHECK (state IN ('connecting', 'live', 'silent', 'down', 'finished')),
        problem           text NOT NULL,
        last_message_time timestamptz,
        latency           interval,
        row_count         bigint NOT NULL,
        quarantined       bigint NOT NULL,
        reconnects        bigint NOT NULL,
        circuit_open      boolean NOT NULL,
        has_history       boolean NOT NULL,
        source_time       timestamptz
    ) WITH (fillfactor = 50)
    """,
    """
    CREATE TABLE marketdata.lines (
        line               text PRIMARY KEY,
        last_sequence      bigint NOT NULL,
        published_sequence bigint NOT NULL DEFAULT 0 CHECK (published_sequence BETWEEN 0 AND last_sequence),
        newest_number      bigint
    ) WITH (fillfactor = 50)
    """,
    "ALTER TABLE marketdata.trades ADD sequence bigint NOT NULL DEFAULT 0",
    """
    UPDATE marketdata.trades SET sequence = numbered.sequence
    FROM (
        SELECT symbol, trade_time, trade_id,
               row_number() OVER (PARTITION BY symbol ORDER BY trade_time, length(trade_id), trade_id) AS sequence
        FROM marketdata.trades
    ) numbered
    WHERE (trades.symbol, trades.trade_time, trades.trade_id)
        = (numbered.symbol, numbered.trade_time, numbered.trade_id)
    """,
    "ALTER TABLE marketdata.trades ALTER sequence DROP DEFAULT, ADD CHECK (sequence > 0)",
    "CREATE INDEX trades_sequence ON marketdata.trades (symbol, sequence)",
    # What was stored before was published before.
    """
    INSERT INTO marketdata.lines (line, last_sequence, published_sequence, newest_number)
    SELECT 'trades:' || symbol, count(*), count(*), max(trade_id::bigint) FILTER (WHERE trade_id ~ '^[0-9]{1,18}$')
    FROM marketdata.trades GROUP BY symbol
    """,
)


def upgrade() -> None:
    """Make the tables, and number the trades that are stored."""
    for statement in _STATEMENTS:
        op.execute(statement)
