"""The quarantine in PostgreSQL."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.domain.market import Candle, Channel, Interval, Origin, TakerSide, Trade
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.ports.quarantine import Kept, Wanted

_ADD = """
INSERT INTO marketdata.quarantine (source, symbol, channel, reason, detail, raw, content, receive_time)
VALUES (:source, :symbol, :channel, :reason, :detail, :raw, CAST(:content AS jsonb), :receive_time)
ON CONFLICT (source, symbol, channel, reason, md5(raw)) DO NOTHING
"""

_LIST = """
SELECT row_id, source, symbol, channel, reason, detail, raw, content, receive_time, replay_time
FROM marketdata.quarantine
WHERE row_id < coalesce(:before, 9223372036854775807)
  AND (:source = '' OR source = :source) AND (:symbol = '' OR symbol = :symbol)
  AND (CAST(:reason AS text) IS NULL OR reason = :reason) AND (:replayed OR replay_time IS NULL)
ORDER BY row_id DESC LIMIT :limit
"""

_GET = """
SELECT row_id, source, symbol, channel, reason, detail, raw, content, receive_time, replay_time
FROM marketdata.quarantine WHERE row_id = ANY(:row_ids) ORDER BY row_id
"""

_MARK = """
UPDATE marketdata.quarantine SET replay_time = :when WHERE row_id = ANY(:row_ids) AND replay_time IS NULL
"""

_DROP = "DELETE FROM marketdata.quarantine WHERE receive_time < :before"


class PostgresQuarantine:
    """Implements QuarantineStore."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def add(self, rows: Sequence[Refused]) -> None:
        if not rows:
            return
        async with self._engine.begin() as connection:
            await connection.execute(text(_ADD), [_parameters(row) for row in rows])

    async def list(self, wanted: Wanted, before: int | None, limit: int) -> Sequence[Kept]:
        reason = None if wanted.reason is None else wanted.reason.value
        values = {"source": wanted.source, "symbol": wanted.symbol, "reason": reason, "replayed": wanted.replayed}
        return await self._read(_LIST, {**values, "before": before, "limit": limit})

    async def get(self, row_ids: Sequence[int]) -> Sequence[Kept]:
        return await self._read(_GET, {"row_ids": [*row_ids]})

    async def mark_replayed(self, row_ids: Sequence[int], when: datetime) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(_MARK), {"row_ids": [*row_ids], "when": when})

    async def drop(self, before: datetime) -> None:
        async with self._engine.begin() as connection:
            await connection.execute(text(_DROP), {"before": before})

    async def _read(self, statement: str, values: Mapping[str, Any]) -> Sequence[Kept]:
        async with self._engine.connect() as connection:
            return [_kept(*row) for row in await connection.execute(text(statement), values)]


def _parameters(row: Refused) -> dict[str, Any]:
    return {
        "source": _storable(row.source),
        "symbol": _storable(row.symbol),
        "channel": row.channel.value,
        "reason": row.reason.value,
        "detail": _storable(row.detail),
        "raw": _storable(row.raw),
        "content": None if row.row is None else json.dumps(_content(row.row)),
        "receive_time": row.receive_time,
    }


def _kept(row_id: int, *columns: Any) -> Kept:
    source, symbol, channel, reason, detail, raw, content, receive_time, replay_time = columns
    row = None if content is None else _row(symbol, content, receive_time)
    refused = Refused(source, symbol, Channel(channel), Reason(reason), detail, raw, receive_time, row)
    return Kept(row_id, refused, replay_time)


def _content(row: Trade | Candle) -> dict[str, str | int]:
    """The row as JSON; numbers are spelled out, so that they stay exact."""
    if isinstance(row, Trade):
        return {
            "trade_id": _storable(row.trade_id),
            "price": str(row.price),
            "quantity": str(row.quantity),
            "taker_side": row.taker_side.value,
            "trade_time": row.trade_time.isoformat(),
        }
    numbers = {name: str(getattr(row, name)) for name in ("open", "high", "low", "close", "volume")}
    return {
        "interval": row.interval.value,
        "open_time": row.open_time.isoformat(),
        "origin": row.origin.value,
        **numbers,
    }


def _row(symbol: str, content: Mapping[str, Any], receive_time: datetime) -> Trade | Candle:
    if "trade_id" in content:
        return Trade(
            symbol,
            content["trade_id"],
            Decimal(content["price"]),
            Decimal(content["quantity"]),
            TakerSide(content["taker_side"]),
            datetime.fromisoformat(content["trade_time"]),
            receive_time,
        )
    numbers = [Decimal(content[name]) for name in ("open", "high", "low", "close", "volume")]
    first, high, low, close, volume = numbers
    open_time = datetime.fromisoformat(content["open_time"])
    interval, origin = Interval(content["interval"]), Origin(content["origin"])
    return Candle(symbol, interval, open_time, first, high, low, close, volume, origin)


def _storable(words: str) -> str:
    """``words`` without what PostgreSQL's text cannot hold."""
    return words.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
