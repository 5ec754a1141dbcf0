"""The newest prices, and prices in other currencies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal

from services.marketdata.catalog import Catalog
from services.marketdata.domain.rates import Rate
from services.marketdata.domain.ticker import Ticker, TickerBoard
from services.marketdata.errors import NoMarketData, RateNotFound
from services.marketdata.ports.rates import RateStore
from services.runtime.clock import Clock

_TWELVE_DIGITS = Context(prec=12)
"""Rounds half to even, as the contract says."""
_TWENTY_DIGITS = Context(prec=20)


class GetTicker:
    """Tell the newest price of a symbol, from memory."""

    def __init__(self, catalog: Catalog, board: TickerBoard) -> None:
        self._catalog = catalog
        self._board = board

    def __call__(self, symbol: str) -> Ticker:
        self._catalog.require(symbol)
        ticker = self._board.ticker(symbol)
        if ticker is None:
            raise NoMarketData(f"{symbol} has not traded yet, so it has no price; try again later", symbol=symbol)
        return ticker


class GetTickers:
    """Tell the newest prices of many symbols, from memory."""

    def __init__(self, catalog: Catalog, board: TickerBoard) -> None:
        self._catalog = catalog
        self._board = board

    def __call__(self, symbols: Sequence[str]) -> tuple[list[Ticker], list[str]]:
        """The tickers by symbol, and the symbols without one; all symbols that have one where none is named."""
        wanted = symbols or [symbol.symbol for symbol in self._catalog.all()]
        tickers = {symbol: self._board.ticker(symbol) for symbol in sorted(wanted)}
        missing = [symbol for symbol, ticker in tickers.items() if ticker is None and symbols]
        return [ticker for ticker in tickers.values() if ticker is not None], missing


@dataclass(frozen=True)
class Converted:
    """An amount in another currency, and by which rate."""

    amount: Decimal
    rate: Decimal
    day: date
    source: str


class ConvertPrice:
    """Convert money by the reference rates of a day, or of the last day before it that has both currencies."""

    def __init__(self, rates: RateStore, now: Clock) -> None:
        self._rates = rates
        self._now = now

    async def __call__(
        self, amount: Decimal, from_currency: str, to_currency: str, moment: datetime | None, source: str
    ) -> Converted:
        day = (moment or self._now()).date()
        if from_currency == to_currency:
            return Converted(_TWELVE_DIGITS.plus(amount), Decimal(1), day, source)
        for rates in await self._rates.of_day(day, (from_currency, to_currency), source):
            if (rate := _cross(rates, from_currency, to_currency)) is not None:
                converted = _TWELVE_DIGITS.multiply(amount, rate)
                return Converted(converted, _TWELVE_DIGITS.plus(rate), rates[0].day, rates[0].source)
        raise RateNotFound(
            f"no rate between {from_currency} and {to_currency} is known for {day} or the seven days before it",
            from_currency=from_currency,
            to_currency=to_currency,
            day=str(day),
        )


def _cross(rates: Sequence[Rate], from_currency: str, to_currency: str) -> Decimal | None:
    """One unit of the first currency in the second, by the rates of one base on one day; None where one is missing."""
    per_base = {rate.quote: rate.rate for rate in rates} | {rates[0].base: Decimal(1)}
    if from_currency not in per_base or to_currency not in per_base:
        return None
    return _TWENTY_DIGITS.divide(per_base[to_currency], per_base[from_currency])
