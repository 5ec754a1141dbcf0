"""Past trades are read without holes in whatever way an exchange tells them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from services.marketdata.adapters.ccxt_pages import (
    Page,
    by_number,
    by_seconds,
    following,
    since_nanosecond,
    without_ids,
)
from services.marketdata.adapters.milliseconds import from_milliseconds, to_milliseconds
from services.marketdata.domain.market import TakerSide, Trade
from tests.unit.marketdata.builders import NOON, at


@dataclass
class PagedExchange:
    """What the pages use of an exchange of ccxt; of a span with more than a page it tells the newest."""

    times: list[datetime]
    calls: int = field(default=0)

    async def fetch_trades(
        self, _market: str, since: int | None = None, limit: int = 1000, parameters: Any = None
    ) -> list[dict[str, Any]]:
        self.calls += 1
        asked = parameters or {}
        rows = [self._row(number, to_milliseconds(time)) for number, time in enumerate(self.times)]
        if "fromId" in asked:
            return rows[asked["fromId"] :][:limit]
        first = int(asked["since"]) / 1e6 if "since" in asked else since or 0
        last = asked.get("until", asked.get("endTime"))
        found = [row for row in rows if row["timestamp"] >= first and (last is None or row["timestamp"] <= last)]
        return found[:limit] if last is None else found[-limit:]

    @staticmethod
    def _row(number: int, milliseconds: int) -> dict[str, Any]:
        price = Decimal(number + 1)
        return {"id": str(number), "timestamp": milliseconds, "side": "buy", "price": price, "amount": Decimal(1)}


def a_trade(row: dict[str, Any]) -> Trade:
    time = from_milliseconds(row["timestamp"])
    return Trade("A-B@c", row["id"], row["price"], row["amount"], TakerSide.BUY, time, time)


async def read_all(page: Page, exchange: PagedExchange, start: datetime, *, numbered: bool) -> list[int]:
    read: list[int] = []
    after: Trade | None = None
    now = exchange.times[-1] + timedelta(minutes=1)
    while rows := following(await page(exchange, "A/B", after, start, now), after, start, numbered=numbered):
        read += [int(row["price"]) - 1 for row in rows]
        after = a_trade(rows[-1])
    return read


@pytest.mark.parametrize(
    ("page", "numbered"), [(by_number, True), (since_nanosecond, True), (by_seconds, True), (without_ids, False)]
)
async def test_every_trade_is_read_once_in_quiet_and_in_busy_times(page: Page, numbered: bool) -> None:
    quiet = [at(-30_000 + 5_000 * number) for number in range(6)]
    busy = [NOON + timedelta(milliseconds=7 * number) for number in range(3_500)]
    exchange = PagedExchange([*quiet, *busy, at(40_000)])
    assert await read_all(page, exchange, at(-26_000), numbered=numbered) == list(range(1, 3_507))
    assert exchange.calls < 100
