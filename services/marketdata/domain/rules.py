"""The rules that a row has to keep to be taken in. They know no source and no clock."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from services.marketdata.domain.market import AssetType, Candle, Trade
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rates import Rate

_MOST_DIGITS_AFTER = 18
_MOST_DIGITS_BEFORE = 20
_LONGEST_ID = 128
_RESTART_RUN = 3
"""So many trades whose ids follow each other, all too low, prove that the source has begun to count anew."""
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Fault:
    """The rule that a row breaks, and how."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Horizon:
    """Which times can be, by the source's own clock; None where that is not known."""

    latest: datetime | None = None
    """What is said to have happened later has not happened."""
    oldest: datetime | None = None
    """What happened before is not kept."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what a source tells is kept, by its clock."""

    trades: timedelta
    candles: timedelta


@dataclass(frozen=True, slots=True)
class Rules:
    """What is asked of the rows of one kind of asset."""

    largest_price: Decimal
    whole_volume: bool = False
    """Whether only whole pieces are traded."""

    def trade_fault(self, trade: Trade, horizon: Horizon) -> Fault | None:
        """The first rule that ``trade`` breaks, if any."""
        return (
            _id_fault(trade.trade_id)
            or self._price_fault("price", trade.price)
            or self._quantity_fault("quantity", trade.quantity)
            or _time_fault(trade.trade_time, horizon)
        )

    def candle_fault(self, candle: Candle, horizon: Horizon) -> Fault | None:
        """The first rule that ``candle`` breaks, if any."""
        for name in ("open", "high", "low", "close"):
            if fault := self._price_fault(name, getattr(candle, name)):
                return fault
        return (
            _range_fault(candle)
            or self._volume_fault(candle.volume)
            or _grid_fault(candle)
            or _time_fault(candle.open_time, horizon)
        )

    def _price_fault(self, name: str, price: Decimal) -> Fault | None:
        if not price.is_finite() or price <= 0:
            return Fault(Reason.PRICE, f"{name} {price} is not above zero")
        if price > self.largest_price:
            return Fault(Reason.PRICE, f"{name} {price} is above {self.largest_price:f}, the most that can be")
        return _digits_fault(name, price)

    def _quantity_fault(self, name: str, quantity: Decimal) -> Fault | None:
        if not quantity.is_finite() or quantity <= 0:
            return Fault(Reason.QUANTITY, f"{name} {quantity} is not above zero")
        if self.whole_volume and quantity != quantity.to_integral_value():
            return Fault(Reason.QUANTITY, f"{name} {quantity} is not whole")
        return _digits_fault(name, quantity)

    def _volume_fault(self, volume: Decimal) -> Fault | None:
        if not volume.is_finite() or volume < 0:
            return Fault(Reason.QUANTITY, f"volume {volume} is below zero")
        return self._quantity_fault("volume", volume) if volume else None


RULES = {
    AssetType.CRYPTO: Rules(largest_price=Decimal("1e15")),
    AssetType.FX: Rules(largest_price=Decimal("1e9")),
    AssetType.EQUITY: Rules(largest_price=Decimal("1e8"), whole_volume=True),
}
"""The rules by kind of asset."""


def rate_fault(rate: Rate, today: date) -> Fault | None:
    """The first rule that ``rate`` breaks, if any; a day may have begun elsewhere already."""
    if not rate.rate.is_finite() or rate.rate <= 0:
        return Fault(Reason.PRICE, f"rate {rate.rate} is not above zero")
    if rate.rate > RULES[AssetType.FX].largest_price:
        return Fault(Reason.PRICE, f"rate {rate.rate} is more than can be")
    if rate.day > today + _ONE_DAY:
        return Fault(Reason.FUTURE, f"{rate.day} is after {today}")
    return _digits_fault("rate", rate.rate)


@dataclass(slots=True)
class _Line:
    number: int
    time: datetime
    restarted_at: int = 0
    run: int = 0


class TradeOrder:
    """Notices trades whose numbers contradict their times, of any number of symbols.

    A lower number at a later time breaks the rule, until so many follow each other that the source must have begun to
    count anew. A trade that only arrives late, with an earlier time, breaks none.
    """

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}

    def fault(self, trade: Trade) -> Fault | None:
        """The rule that ``trade`` breaks after those before it, if any. Trades without numbers break none."""
        number = trade.number
        if number is None:
            return None
        line = self._lines.get(trade.symbol)
        if line is None or number > line.number:
            self._lines[trade.symbol] = _Line(number, trade.trade_time)
            return None
        if trade.trade_time <= line.time:
            return None
        if number == line.number:
            return Fault(Reason.CONFLICT, f"trade {number} at {trade.trade_time}, and before at {line.time}")
        line.run = line.run + 1 if number == line.restarted_at + 1 else 1
        line.restarted_at = number
        if line.run >= _RESTART_RUN:
            self._lines[trade.symbol] = _Line(number, trade.trade_time)
            return None
        return Fault(
            Reason.OUT_OF_ORDER,
            f"trade {number} at {trade.trade_time} is later than trade {line.number} at {line.time}",
        )


def _time_fault(moment: datetime, horizon: Horizon) -> Fault | None:
    if horizon.latest is not None and moment > horizon.latest:
        return Fault(Reason.FUTURE, f"{moment} is after {horizon.latest}, which the source's clock has not reached")
    if horizon.oldest is not None and moment < horizon.oldest:
        return Fault(Reason.TOO_OLD, f"{moment} is before {horizon.oldest}, and what is older is not kept")
    return None


def _id_fault(trade_id: str) -> Fault | None:
    if not trade_id or len(trade_id) > _LONGEST_ID or not trade_id.isprintable():
        return Fault(Reason.MALFORMED, f"a trade id has 1 to {_LONGEST_ID} characters that can be printed")
    return None


def _range_fault(candle: Candle) -> Fault | None:
    if candle.high < candle.low:
        return Fault(Reason.CANDLE_RANGE, f"high {candle.high} is below low {candle.low}")
    for name, price in (("open", candle.open), ("close", candle.close)):
        if not candle.low <= price <= candle.high:
            return Fault(Reason.CANDLE_RANGE, f"{name} {price} is outside of {candle.low} to {candle.high}")
    return None


def _grid_fault(candle: Candle) -> Fault | None:
    if candle.open_time != candle.interval.floor(candle.open_time):
        return Fault(Reason.MALFORMED, f"no candle of {candle.interval.value} s opens at {candle.open_time}")
    return None


def _digits_fault(name: str, number: Decimal) -> Fault | None:
    # Not by normalize, which rounds what has more than 28 digits.
    _, digits, exponent = number.as_tuple()
    zeros = len(digits) - len(bytes(digits).rstrip(b"\0"))
    if isinstance(exponent, int) and -exponent - zeros > _MOST_DIGITS_AFTER:
        return Fault(Reason.PRECISION, f"{name} {number} has more than {_MOST_DIGITS_AFTER} digits after the point")
    if number.adjusted() >= _MOST_DIGITS_BEFORE:
        return Fault(Reason.PRECISION, f"{name} {number} has more than {_MOST_DIGITS_BEFORE} digits before the point")
    return None
