"""The SQL of candles. Parameters are bound, never written into the text; those of the driver itself are numbered."""

HISTORY = """
SELECT start_time, next_open, live_from FROM marketdata.histories
WHERE symbol = :symbol AND interval_seconds = :interval
"""

PUT_HISTORY = """
INSERT INTO marketdata.histories (symbol, interval_seconds, start_time, next_open, live_from)
VALUES (:symbol, :interval, :start_time, :next_open, :live_from)
ON CONFLICT (symbol, interval_seconds) DO UPDATE SET
    start_time = excluded.start_time, next_open = excluded.next_open, live_from = excluded.live_from
"""

ADD = """
WITH incoming AS (
    SELECT :symbol AS symbol, CAST(:interval AS integer) AS interval_seconds, rows.*
    FROM unnest(
        CAST(:sequences AS bigint[]), CAST(:open_times AS timestamptz[]), CAST(:opens AS numeric[]),
        CAST(:highs AS numeric[]), CAST(:lows AS numeric[]), CAST(:closes AS numeric[]), CAST(:volumes AS numeric[]),
        CAST(:origins AS text[]), CAST(:revisions AS integer[])
    ) AS rows (sequence, open_time, open, high, low, close, volume, origin, revision)
), put_into_line AS (
    INSERT INTO marketdata.candle_line
        (symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision)
    SELECT symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision
    FROM incoming WHERE sequence > :after
)
INSERT INTO marketdata.candles AS stored
    (symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision)
SELECT symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision
FROM incoming
ON CONFLICT (symbol, interval_seconds, open_time) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    origin = excluded.origin, revision = excluded.revision, sequence = excluded.sequence
"""

STORED = """
SELECT symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision
FROM marketdata.candles
WHERE symbol = :symbol AND interval_seconds = :interval AND open_time BETWEEN :first AND :last
ORDER BY open_time
"""

IN_LINE = """
SELECT symbol, interval_seconds, sequence, open_time, open, high, low, close, volume, origin, revision
FROM marketdata.candle_line
WHERE symbol = :symbol AND interval_seconds = :interval AND sequence > :after
ORDER BY sequence LIMIT :limit
"""

BUILT = """
SELECT date_bin(make_interval(secs => :interval), trade_time, 'epoch') AS open_time,
       (array_agg(price ORDER BY trade_time, length(trade_id), trade_id COLLATE "C"))[1],
       max(price), min(price),
       (array_agg(price ORDER BY trade_time DESC, length(trade_id) DESC, trade_id COLLATE "C" DESC))[1],
       sum(quantity)
FROM marketdata.trades
WHERE symbol = :symbol AND trade_time >= :start AND trade_time < :end
GROUP BY 1 ORDER BY 1
"""

LAST_TRADE = """
SELECT trade_time, price FROM marketdata.trades
WHERE symbol = :symbol AND trade_time < :end
ORDER BY trade_time DESC, length(trade_id) DESC, trade_id COLLATE "C" DESC LIMIT 1
"""

# Planning for all partitions at every call takes longer than reading; which of them are needed is found at the start.
PLAN_ONCE = "SET LOCAL plan_cache_mode = force_generic_plan"

CANDLES = """
SELECT open_time, open, high, low, close, volume, origin, revision, sequence
FROM marketdata.candles
WHERE symbol = $1 AND interval_seconds = $2
  AND open_time >= coalesce($3, '-infinity'::timestamptz) AND open_time < coalesce($4, 'infinity'::timestamptz)
ORDER BY open_time LIMIT $5
"""

NEWEST = """
SELECT open_time, open, high, low, close, volume, origin, revision, sequence
FROM marketdata.candles
WHERE symbol = $1 AND interval_seconds = $2
ORDER BY open_time DESC LIMIT $3
"""

NEWEST_BEFORE = """
SELECT open_time, open, high, low, close, volume, origin, revision, sequence
FROM marketdata.candles
WHERE symbol = $1 AND interval_seconds = $2 AND open_time < $3
ORDER BY open_time DESC LIMIT $4
"""

DELETE = """
DELETE FROM marketdata.candles USING marketdata.symbols
WHERE symbols.source = :source AND candles.symbol = symbols.symbol
  AND interval_seconds = :interval AND open_time < :before
"""

SHORTEN_LINES = """
DELETE FROM marketdata.candle_line
USING marketdata.lines
WHERE line = 'candles:' || interval_seconds || ':' || symbol AND sequence <= published_sequence - :kept
"""
