"""Trades and candles for the tests."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from services.marketdata.domain.market import Candle, Interval, Origin, Symbol, TakerSide, Trade

BTC = "BTC-USDT@simex"
MINUTE, FIVE = Interval.ONE_MINUTE, Interval.FIVE_MINUTES
NOON = datetime(2024, 3, 5, 12, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """So many seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def a_symbol(name: str = BTC) -> Symbol:
    """A symbol with ordinary steps."""
    pair, _, source = name.partition("@")
    base, quote = pair.split("-")
    return Symbol(name, base, quote, source, f"{base}/{quote}", Decimal("0.01"), Decimal("0.00001"), Decimal(5))


def a_trade(number: int | str, seconds: float, price: str = "100", quantity: str = "1") -> Trade:
    """A trade so many seconds after noon."""
    time = at(seconds)
    return Trade(BTC, str(number), Decimal(price), Decimal(quantity), TakerSide.BUY, time, time)


def a_candle(
    minute: int,
    prices: tuple[str, str, str, str] = ("100", "100", "100", "100"),
    volume: str = "1",
    origin: Origin = Origin.SOURCE,
) -> Candle:
    """The candle of one minute that opens so many minutes after noon."""
    first, high, low, last = map(Decimal, prices)
    return Candle(BTC, MINUTE, at(60 * minute), first, high, low, last, Decimal(volume), origin)


def quiet(minute: int, price: str = "100") -> Candle:
    """A candle without trades."""
    return a_candle(minute, (price, price, price, price), "0")
