"""More intervals, corrections, the line of published candles, gaps and backfills."""

from alembic import op

revision = "0005"
down_revision = "0004"

_STATEMENTS = (
    """
    ALTER TABLE marketdata.candles
        ADD revision integer NOT NULL DEFAULT 0,
        ADD sequence bigint NOT NULL DEFAULT 0,
        DROP CONSTRAINT candles_origin_check,
        ADD CONSTRAINT candles_origin_check CHECK (origin IN ('trades', 'source', 'roll_up'))
    """,
    # What waits to be published, and a while of what has been, as it was then: a correction leaves it as it is.
    """
    CREATE TABLE marketdata.candle_line (
        symbol           text NOT NULL,
        interval_seconds integer NOT NULL,
        sequence         bigint NOT NULL,
        open_time        timestamptz NOT NULL,
        open             numeric NOT NULL,
        high             numeric NOT NULL,
        low              numeric NOT NULL,
        close            numeric NOT NULL,
        volume           numeric NOT NULL,
        origin           text NOT NULL,
        revision         integer NOT NULL,
        PRIMARY KEY (symbol, interval_seconds, sequence)
    )
    """,
    """
    INSERT INTO marketdata.candle_line
    SELECT symbol, interval_seconds, row_number() OVER (PARTITION BY symbol, interval_seconds ORDER BY open_time),
           open_time, open, high, low, close, volume, origin, 0
    FROM marketdata.candles WHERE NOT published
    """,
    """
    INSERT INTO marketdata.lines (line, last_sequence)
    SELECT 'candles:' || interval_seconds || ':' || symbol, max(sequence)
    FROM marketdata.candle_line GROUP BY symbol, interval_seconds
    """,
    """
    UPDATE marketdata.candles SET sequence = waiting.sequence FROM marketdata.candle_line waiting
    WHERE NOT candles.published AND candles.symbol = waiting.symbol
      AND candles.interval_seconds = waiting.interval_seconds AND candles.open_time = waiting.open_time
    """,
    "DROP INDEX marketdata.candles_unpublished",
    "ALTER TABLE marketdata.candles DROP published",
    # Longer candles of what is stored already.
    """
    INSERT INTO marketdata.candles
        (symbol, interval_seconds, open_time, open, high, low, close, volume, origin)
    SELECT symbol, seconds, opened, (array_agg(open ORDER BY open_time))[1], max(high), min(low),
           (array_agg(close ORDER BY open_time DESC))[1], sum(volume), 'roll_up'
    FROM (
        SELECT candles.*, seconds, date_bin(make_interval(secs => seconds), open_time, 'epoch') AS opened
        FROM marketdata.candles CROSS JOIN unnest(ARRAY[900, 3600, 14400, 86400]) AS seconds
        WHERE interval_seconds = 300
    ) parts
    WHERE to_regclass('marketdata.candles_' || to_char(opened AT TIME ZONE 'UTC', 'YYYYMM') || '01') IS NOT NULL
    GROUP BY symbol, seconds, opened HAVING count(*) = seconds / 300
    """,
    # What is known of the trades of a symbol. Those behind position have still to be looked at.
    """
    CREATE TABLE marketdata.followed (
        symbol          text PRIMARY KEY,
        since           timestamptz NOT NULL,
        position        bigint NOT NULL,
        newest_trade_id text NOT NULL,
        newest_time     timestamptz NOT NULL
    ) WITH (fillfactor = 50)
    """,
    """
    INSERT INTO marketdata.followed
    SELECT DISTINCT ON (symbol) symbol, trade_time, last_sequence, trade_id, trade_time
    FROM marketdata.trades JOIN marketdata.lines ON line = 'trades:' || symbol
    ORDER BY symbol, trade_time DESC, length(trade_id) DESC, trade_id DESC
    """,
    """
    CREATE TABLE marketdata.gaps (
        number           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        gap_id           uuid NOT NULL UNIQUE,
        symbol           text NOT NULL,
        channel          text NOT NULL CHECK (channel IN ('trades', 'candles')),
        interval_seconds integer,
        start_time       timestamptz NOT NULL,
        end_time         timestamptz NOT NULL CHECK (end_time >= start_time),
        first_trade_id   text NOT NULL,
        last_trade_id    text NOT NULL,
        evidence         text NOT NULL CHECK (evidence IN ('trade_id', 'time')),
        state            text NOT NULL CHECK (state IN ('open', 'repaired', 'not_at_source')),
        repaired_rows    bigint NOT NULL,
        detect_time      timestamptz NOT NULL,
        close_time       timestamptz,
        problem          text NOT NULL,
        settled          boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE INDEX gaps_symbol ON marketdata.gaps (symbol, start_time)",
    "CREATE INDEX gaps_unsettled ON marketdata.gaps (symbol) WHERE NOT settled OR state <> 'repaired'",
    """
    CREATE TABLE marketdata.backfill_jobs (
        number           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        job_id           uuid NOT NULL UNIQUE,
        symbol           text NOT NULL,
        source           text NOT NULL,
        channel          text NOT NULL CHECK (channel IN ('trades', 'candles')),
        interval_seconds integer,
        start_time       timestamptz NOT NULL,
        wanted_end_time  timestamptz,
        end_time         timestamptz,
        state            text NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
        position         timestamptz NOT NULL,
        fetched_rows     bigint NOT NULL,
        new_rows         bigint NOT NULL,
        create_time      timestamptz NOT NULL,
        complete_time    timestamptz,
        problem          text NOT NULL
    )
    """,
    """
    CREATE INDEX backfill_jobs_unfinished ON marketdata.backfill_jobs (source, number)
    WHERE state IN ('waiting', 'running')
    """,
)


def upgrade() -> None:
    """Change the tables."""
    for statement in _STATEMENTS:
        op.execute(statement)
