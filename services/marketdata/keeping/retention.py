"""Makes partitions before they are needed, and drops what is old, by the clocks of the sources."""

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

from services.marketdata.domain.market import Interval
from services.marketdata.ports.candles import CandleStore
from services.marketdata.ports.partitions import Partitioned
from services.marketdata.ports.source_states import SourceStates
from services.marketdata.ports.trades import TradeStore

_log = logging.getLogger(__name__)

_SECONDS = 60.0
_AHEAD = timedelta(days=1)


async def make_ahead(names: Collection[str], states: SourceStates, stores: Sequence[Partitioned]) -> None:
    """Make the partitions for ever that what the sources ``names`` tell within a day will belong into."""
    while True:
        try:
            times = await _times(names, states)
            for store in stores:
                await store.prepare([*times, *(time + _AHEAD for time in times)])
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
            _log.warning("partitions not made ahead", extra={"problem": repr(error)})
        await asyncio.sleep(_SECONDS)


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
            if times := await _times(names, states):
                await trades.drop_expired(min(times) - trades_kept)
                await candles.drop_expired(min(times), candles_kept)
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
            _log.warning("old data not dropped", extra={"problem": repr(error)})
        await asyncio.sleep(_SECONDS)


async def _times(names: Collection[str], states: SourceStates) -> list[datetime]:
    """What the clocks of those sources show that have told it."""
    return [
        led.status.source_time
        for name, led in (await states.all()).items()
        if name in names and led.status is not None and led.status.source_time is not None
    ]
