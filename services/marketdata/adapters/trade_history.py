"""Reading trades from PostgreSQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.marketdata.domain.market import TakerSide, Trade

_TRADES = sa.Table(
    "trades",
    sa.MetaData(),
    sa.Column("symbol", sa.Text),
    sa.Column("trade_id", sa.Text),
    sa.Column("price", sa.Numeric),
    sa.Column("quantity", sa.Numeric),
    sa.Column("taker_side", sa.Text),
    sa.Column("trade_time", sa.DateTime(timezone=True)),
    sa.Column("receive_time", sa.DateTime(timezone=True)),
    sa.Column("sequence", sa.BigInteger),
    schema="marketdata",
)
_TIME, _ID = _TRADES.c.trade_time, _TRADES.c.trade_id
_ORDER = (_TIME, sa.func.length(_ID), _ID)
"""By time; ids that are numbers by their value, the others by their text."""


class PostgresTradeHistory:
    """Implements TradeHistory."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def between(
        self, symbol: str, start: datetime | None, end: datetime | None, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Trade]:
        wanted = sa.select(_TRADES).where(_TRADES.c.symbol == symbol)
        if start is not None:
            wanted = wanted.where(start <= _TIME)
        if end is not None:
            wanted = wanted.where(end > _TIME)
        if after is not None:
            time, trade_id = after
            following = sa.tuple_(*_ORDER) > sa.tuple_(time, len(trade_id), trade_id)
            # The plain comparison is what an index and the partitions can be searched by.
            wanted = wanted.where(time <= _TIME, following)
        return await self._read(wanted.order_by(*_ORDER).limit(limit))

    async def newest(self, symbol: str, limit: int) -> Sequence[Trade]:
        wanted = sa.select(_TRADES).where(_TRADES.c.symbol == symbol)
        newest_first = (column.desc() for column in _ORDER)
        return (await self._read(wanted.order_by(*newest_first).limit(limit)))[::-1]

    async def _read(self, wanted: sa.Select[Any]) -> list[Trade]:
        async with self._engine.connect() as connection:
            return [_trade(row) for row in await connection.execute(wanted)]


def _trade(row: Any) -> Trade:
    return Trade(**(row._asdict() | {"taker_side": TakerSide(row.taker_side)}))
