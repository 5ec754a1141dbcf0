"""The SQL of the store. Parameters are bound, never written into the text."""

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

INCOMING_CANDLES = """
CREATE TEMPORARY TABLE IF NOT EXISTS incoming_candles (
    symbol text, interval_seconds integer, open_time timestamptz, open numeric, high numeric, low numeric,
    close numeric, volume numeric, origin text
) ON COMMIT DELETE ROWS
"""

ADD_CANDLES = """
INSERT INTO marketdata.candles AS stored
SELECT incoming_candles.*, live_from IS NULL OR open_time < live_from
FROM incoming_candles JOIN marketdata.histories USING (symbol, interval_seconds)
ON CONFLICT (symbol, interval_seconds, open_time) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
    volume = excluded.volume, origin = excluded.origin, published = excluded.published
WHERE (stored.open, stored.high, stored.low, stored.close, stored.volume)
   <> (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
"""

UNPUBLISHED = """
SELECT symbol, interval_seconds, open_time, open, high, low, close, volume, origin
FROM marketdata.candles
WHERE NOT published AND symbol = :symbol AND interval_seconds = :interval
ORDER BY open_time LIMIT :limit
"""

MARK_PUBLISHED = """
UPDATE marketdata.candles SET published = true
WHERE symbol = :symbol AND interval_seconds = :interval AND open_time = ANY(:open_times)
"""

CANDLES = """
SELECT symbol, interval_seconds, open_time, open, high, low, close, volume, origin
FROM marketdata.candles
WHERE symbol = :symbol AND interval_seconds = :interval
  AND open_time >= coalesce(:start, '-infinity'::timestamptz) AND open_time < coalesce(:end, 'infinity'::timestamptz)
ORDER BY open_time LIMIT :limit
"""

NEWEST_CANDLES = """
SELECT symbol, interval_seconds, open_time, open, high, low, close, volume, origin
FROM marketdata.candles
WHERE symbol = :symbol AND interval_seconds = :interval
ORDER BY open_time DESC LIMIT :limit
"""
