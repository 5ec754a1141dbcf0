"""The ways in which exchanges tell past trades, as ccxt reads them.

Each returns a page of rows of ccxt that holds the first trades after ``after``, or at ``start`` or later where that is
None, if there are any before ``now``; other rows may be among them.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from services.marketdata.adapters.milliseconds import to_milliseconds
from services.marketdata.domain.market import Trade, exact

Rows = list[dict[str, Any]]
Page = Callable[[Any, str, Trade | None, datetime, datetime], Awaitable[Rows]]
"""Exchange, market, ``after``, ``start`` and ``now``."""

_MOST = 1000
_OKX_MOST = 100
_HOUR, _SECOND, _MILLISECOND = timedelta(hours=1), timedelta(seconds=1), timedelta(milliseconds=1)


async def by_number(exchange: Any, market: str, after: Trade | None, start: datetime, now: datetime) -> Rows:
    """Binance: from an id on; the first id of a time is found hour by hour."""
    if after is not None and after.number is not None:
        return list(await exchange.fetch_trades(market, None, _MOST, {"fromId": after.number + 1}))
    while start <= now:
        if rows := await exchange.fetch_trades(market, to_milliseconds(start), _MOST):
            return list(rows)
        start += _HOUR
    return []


async def before_number(exchange: Any, market: str, after: Trade | None, start: datetime, now: datetime) -> Rows:
    """OKX: the newest 100 before an id or a time. Its ids are consecutive, so that those after any id can be had."""

    async def before(kind: str, position: int) -> Rows:
        asked = {"method": "publicGetMarketHistoryTrades", "type": kind, "after": str(position)}
        return list(await exchange.fetch_trades(market, None, _OKX_MOST, asked))

    if after is not None and after.number is not None:
        return await before("1", after.number + _OKX_MOST + 1)
    if rows := await before("2", to_milliseconds(start)):
        return await before("1", max(int(row["id"]) for row in rows) + _OKX_MOST + 1)
    # What it has begins later: look for a time that is just behind the beginning.
    empty, late = start, start + _HOUR
    while not (rows := await before("2", to_milliseconds(late))):
        if late > now:
            return []
        empty, late = late, late + 2 * (late - start)
    while len(rows) >= _OKX_MOST and late - empty > _SECOND:
        middle = empty + (late - empty) / 2
        if found := await before("2", to_milliseconds(middle)):
            rows, late = found, middle
        else:
            empty = middle
    return rows


async def since_nanosecond(exchange: Any, market: str, after: Trade | None, start: datetime, _now: datetime) -> Rows:
    """Kraken: the first 1,000 after a nanosecond."""
    first = start if after is None else after.trade_time
    since = str(to_milliseconds(first) * 1_000_000 - 1)
    return list(await exchange.fetch_trades(market, None, _MOST, {"since": since}))


async def without_ids(exchange: Any, market: str, after: Trade | None, start: datetime, now: datetime) -> Rows:
    """MEXC: those of a span of time, which get ids of their content."""

    async def rows_of(first: datetime, last: datetime) -> Rows:
        span = {"endTime": to_milliseconds(last)}
        return with_ids(await exchange.fetch_trades(market, to_milliseconds(first), _MOST, span))

    return await _first_span(rows_of, start if after is None else after.trade_time, after, now, _MILLISECOND)


async def by_seconds(exchange: Any, market: str, after: Trade | None, start: datetime, now: datetime) -> Rows:
    """Coinbase: those of a span of whole seconds."""

    async def rows_of(first: datetime, last: datetime) -> Rows:
        span = {"until": to_milliseconds(last)}
        return list(await exchange.fetch_trades(market, to_milliseconds(first), _MOST, span))

    first = (start if after is None else after.trade_time).replace(microsecond=0)
    return await _first_span(rows_of, first, after, now, _SECOND)


async def by_time(exchange: Any, market: str, after: Trade | None, start: datetime, _now: datetime) -> Rows:
    """As ccxt describes it for all exchanges: from a time on."""
    first = start if after is None else after.trade_time
    return list(await exchange.fetch_trades(market, to_milliseconds(first), _MOST))


async def newest(exchange: Any, market: str, _after: Trade | None, _start: datetime, _now: datetime) -> Rows:
    """Bybit: the newest, and no others."""
    return list(await exchange.fetch_trades(market))


def with_ids(rows: Iterable[dict[str, Any]]) -> Rows:
    """``rows`` with ids made of what they say, and of how many said the same before."""
    said: Counter[str] = Counter()
    named = []
    for row in rows:
        content = f"{row['timestamp']}-{row['side']}-{_plain(row['price'])}-{_plain(row['amount'])}"
        said[content] += 1
        named.append({**row, "id": content if said[content] == 1 else f"{content}-{said[content]}"})
    return named


def _plain(number: Decimal | None) -> str:
    """The number in plain digits, however many zeros it was written with."""
    return "" if number is None else f"{exact(number):f}"


def following(rows: Rows, after: Trade | None, start: datetime, *, numbered: bool) -> Rows:
    """The rows that the page is about, the oldest first; those that cannot be read are kept."""

    def place(row: dict[str, Any]) -> tuple[int, int]:
        number = int(row["id"]) if numbered and str(row["id"]).isdigit() else 0
        return (number, row["timestamp"] or 0) if numbered else (row["timestamp"] or 0, number)

    ordered = sorted(rows, key=place)
    if after is None:
        first = to_milliseconds(start)
        return [row for row in ordered if row["timestamp"] is None or row["timestamp"] >= first]
    if numbered and after.number is not None:
        newest_number = after.number
        return [row for row in ordered if not str(row["id"]).isdigit() or int(row["id"]) > newest_number]
    ids = [row["id"] for row in ordered]
    if after.trade_id in ids:
        return ordered[ids.index(after.trade_id) + 1 :]
    last = to_milliseconds(after.trade_time)
    return [row for row in ordered if row["timestamp"] is None or row["timestamp"] > last]


async def _first_span(
    rows_of: Callable[[datetime, datetime], Awaitable[Rows]],
    first: datetime,
    after: Trade | None,
    now: datetime,
    shortest: timedelta,
) -> Rows:
    """The rows of the first span that has any new ones, halved until it holds fewer than a full page.

    Exchanges tell the newest rows of a span that holds more than a page.
    """
    width = _HOUR
    while first <= now:
        rows = await rows_of(first, first + width)
        if len(rows) >= _MOST and width > shortest:
            width = max(shortest, width / 4)
            continue
        if any(after is None or row["id"] != after.trade_id for row in rows) and following(
            rows, after, first, numbered=False
        ):
            return rows
        first += width
    return []
