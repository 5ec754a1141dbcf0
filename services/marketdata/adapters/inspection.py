"""Where rows of sources are judged: what breaks a rule goes into quarantine."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from services.marketdata.domain.market import AssetType, Candle, Channel, Trade
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.domain.rules import RULES, Fault, Horizon, Retention, TradeOrder
from services.marketdata.ports.quarantine import Quarantine
from services.runtime.clock import Clock

_UNREADABLE = (ArithmeticError, TypeError, ValueError, KeyError, AttributeError, OverflowError)


class Inspection:
    """Judges the rows of one source. It remembers what its clock told, and the newest number of each market."""

    def __init__(
        self,
        source: str,
        asset_type: AssetType,
        quarantine: Quarantine,
        kept: Retention,
        tolerance: timedelta,
        now: Clock,
    ) -> None:
        self._source = source
        self._rules = RULES[asset_type]
        self._quarantine = quarantine
        self._kept = kept
        self._tolerance = tolerance
        self._now = now
        self._order = TradeOrder()
        self._told: datetime | None = None

    def tell_time(self, told: datetime) -> None:
        """The source's clock shows ``told``."""
        self._told = told

    def doubts(self, moment: datetime) -> bool:
        """Whether ``moment`` can only be believed after the source's clock has been asked again."""
        return self._told is None or moment > self._told + self._tolerance

    def trade(self, symbol: str, raw: object, read: Callable[[], Trade], *, live: bool) -> Trade | None:
        """The trade that ``read`` makes of the row ``raw``, or None when it breaks a rule."""
        try:
            trade = read()
        except _UNREADABLE as error:
            self._refuse(symbol, Channel.TRADES, _unreadable(error), raw, None)
            return None
        fault = self._rules.trade_fault(trade, self._horizon(self._kept.trades))
        if fault is None and live:
            fault = self._order.fault(trade)
        if fault is None:
            return trade
        self._refuse(symbol, Channel.TRADES, fault, raw, trade)
        return None

    def candle(self, symbol: str, raw: object, read: Callable[[], Candle]) -> Candle | None:
        """The candle that ``read`` makes of the row ``raw``, or None when it breaks a rule."""
        try:
            candle = read()
        except _UNREADABLE as error:
            self._refuse(symbol, Channel.CANDLES, _unreadable(error), raw, None)
            return None
        fault = self._rules.candle_fault(candle, self._horizon(self._kept.candles))
        if fault is None:
            return candle
        self._refuse(symbol, Channel.CANDLES, fault, raw, candle)
        return None

    def _horizon(self, kept: timedelta) -> Horizon:
        if self._told is None:
            return Horizon()
        return Horizon(self._told + self._tolerance, self._told - kept)

    def _refuse(self, symbol: str, channel: Channel, fault: Fault, raw: object, row: Trade | Candle | None) -> None:
        self._quarantine.put(
            Refused(self._source, symbol, channel, fault.reason, fault.detail, as_json(raw), self._now(), row)
        )


def as_json(raw: Any) -> str:
    """The row as JSON; what JSON does not know is spelled out."""
    return json.dumps(raw, default=str, ensure_ascii=False)


def _unreadable(error: Exception) -> Fault:
    return Fault(Reason.MALFORMED, f"{type(error).__name__}: {error}"[:300])
