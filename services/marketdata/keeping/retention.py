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
_DELETED_EVERY = timedelta(minutes=10)
"""Rows are deleted when so much of a source's time has passed since the last time."""
_AHEAD = timedelta(days=1)
_DAY, _MONTH = timedelta(days=1), timedelta(days=31)
"""What a partition of trades and one of candles are for."""


async def make_ahead(names: Collection[str], states: SourceStates, stores: Sequence[Partitioned]) -> None:
    """Make the partitions for ever that what the sources ``names`` tell within a day will belong into."""
    while True:
        try:
            times = (await _times(names, states)).values()
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
    """Drop what is old for ever, of each of the sources ``names`` by its own clock.

    Partitions go when the clock of every source has left them behind. A source whose clock stands, such as a file that
    was read to its end, keeps them: the rows of the others in them are deleted. So are candles of which an interval is
    kept for less time than others.
    """
    deleted_at: dict[str, datetime] = {}
    longest = max(candles_kept.values())
    shorter = {interval: age for interval, age in candles_kept.items() if age < longest}
    while True:
        try:
            times = await _times(names, states)
            if behind := min(times.values(), default=None):
                await trades.drop_expired(behind - trades_kept)
                await candles.drop_expired(behind, candles_kept)
            for name, time in times.items():
                if behind is None or (name in deleted_at and time < deleted_at[name] + _DELETED_EVERY):
                    continue
                if time - behind > _DAY:
                    await trades.delete_expired(name, time - trades_kept)
                await candles.delete_expired(name, time, candles_kept if time - behind > _MONTH else shorter)
                deleted_at[name] = time
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
            _log.warning("old data not dropped", extra={"problem": repr(error)})
        await asyncio.sleep(_SECONDS)


async def _times(names: Collection[str], states: SourceStates) -> dict[str, datetime]:
    """What the clocks of those sources show that have told it."""
    return {
        name: led.status.source_time
        for name, led in (await states.all()).items()
        if name in names and led.status is not None and led.status.source_time is not None
    }
