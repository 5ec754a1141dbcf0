"""Symbols, trades, candles and the histories of candles; partitions by time."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE marketdata.symbols (
        symbol        text PRIMARY KEY,
        base          text NOT NULL,
        quote         text NOT NULL,
        source        text NOT NULL,
        source_symbol text NOT NULL,
        price_step    numeric NOT NULL CHECK (price_step > 0),
        quantity_step numeric NOT NULL CHECK (quantity_step > 0),
        min_notional  numeric NOT NULL CHECK (min_notional >= 0)
    )
    """,
    """
    CREATE TABLE marketdata.trades (
        symbol       text NOT NULL,
        trade_id     text NOT NULL,
        price        numeric NOT NULL CHECK (price > 0),
        quantity     numeric NOT NULL CHECK (quantity > 0),
        taker_side   text NOT NULL CHECK (taker_side IN ('unknown', 'buy', 'sell')),
        trade_time   timestamptz NOT NULL,
        receive_time timestamptz NOT NULL,
        PRIMARY KEY (symbol, trade_time, trade_id)
    ) PARTITION BY RANGE (trade_time)
    """,
    """
    CREATE TABLE marketdata.candles (
        symbol           text NOT NULL,
        interval_seconds integer NOT NULL,
        open_time        timestamptz NOT NULL,
        open             numeric NOT NULL CHECK (open BETWEEN low AND high),
        high             numeric NOT NULL,
        low              numeric NOT NULL CHECK (low > 0),
        close            numeric NOT NULL CHECK (close BETWEEN low AND high),
        volume           numeric NOT NULL CHECK (volume >= 0),
        origin           text NOT NULL CHECK (origin IN ('trades', 'source')),
        published        boolean NOT NULL,
        PRIMARY KEY (symbol, interval_seconds, open_time)
    ) PARTITION BY RANGE (open_time)
    """,
    """
    CREATE INDEX candles_unpublished ON marketdata.candles (symbol, interval_seconds, open_time) WHERE NOT published
    """,
    """
    CREATE TABLE marketdata.histories (
        symbol           text NOT NULL,
        interval_seconds integer NOT NULL,
        start_time       timestamptz NOT NULL,
        next_open        timestamptz NOT NULL,
        live_from        timestamptz,
        PRIMARY KEY (symbol, interval_seconds)
    )
    """,
    """
    CREATE FUNCTION marketdata.add_partitions(parent text, unit text, first timestamptz, last timestamptz)
    RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
    DECLARE
        step interval := ('1 ' || unit)::interval;
        starts timestamptz := date_trunc(unit, first);
        child text;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('marketdata partitions'));
        WHILE starts <= last LOOP
            child := parent || '_' || to_char(starts, 'YYYYMMDD');
            IF to_regclass(format('marketdata.%I', child)) IS NULL THEN
                EXECUTE format('CREATE TABLE marketdata.%I (LIKE marketdata.%I INCLUDING ALL)', child, parent);
                EXECUTE format(
                    'ALTER TABLE marketdata.%I ATTACH PARTITION marketdata.%I FOR VALUES FROM (%L) TO (%L)',
                    parent, child, starts, starts + step
                );
            END IF;
            starts := starts + step;
        END LOOP;
    END $$
    """,
    """
    CREATE FUNCTION marketdata.drop_partitions(parent text, unit text, before timestamptz)
    RETURNS void LANGUAGE plpgsql SET timezone = 'UTC' AS $$
    DECLARE
        child name;
    BEGIN
        PERFORM pg_advisory_xact_lock(hashtext('marketdata partitions'));
        FOR child IN
            SELECT class.relname FROM pg_inherits JOIN pg_class class ON class.oid = inhrelid
            WHERE inhparent = format('marketdata.%I', parent)::regclass
              AND to_timestamp(right(class.relname, 8), 'YYYYMMDD') + ('1 ' || unit)::interval <= before
        LOOP
            EXECUTE format('DROP TABLE marketdata.%I', child);
        END LOOP;
    END $$
    """,
)


def upgrade() -> None:
    """Create everything in the schema ``marketdata``."""
    for statement in _STATEMENTS:
        op.execute(statement)
