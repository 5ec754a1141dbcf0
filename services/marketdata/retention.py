"""Drops what is old, by the clocks of the sources."""

import asyncio
import logging
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from services.marketdata.domain.market import Interval
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.source_states import SourceStates
from services.marketdata.ports.trades import TradeStore

_log = logging.getLogger(__name__)

_SECONDS = 60.0


async def drop_expired(
    names: Collection[str],
    states: SourceStates,
    trades: TradeStore,
    candles: CandleStore,
    trades_kept: timedelta,
    candles_kept: Mapping[Interval, timedelta],
) -> None:
    """Drop old partitions for ever; of the sources ``names``, whose clocks may differ, the one behind decides."""
    while True:
        try:
            times: list[datetime] = [
                led.status.source_time
                for name, led in (await states.all()).items()
                if name in names and led.status is not None and led.status.source_time is not None
            ]
            if times:
                await trades.drop_expired(min(times) - trades_kept)
                await candles.drop_expired(min(times), candles_kept)
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
            _log.warning("old data not dropped", extra={"problem": repr(error)})
        await asyncio.sleep(_SECONDS)
