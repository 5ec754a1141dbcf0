"""Follows a source of reference rates while this replica leads it."""

import asyncio
import logging
from datetime import UTC, date, datetime, timedelta

from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.feeding.patience import Patience
from services.marketdata.feeding.source_work import tell_status
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.rates import RateStore
from services.marketdata.ports.source_states import SourceStates
from services.marketdata.ports.sources import RateSource, SourceUnavailable
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)

_FIRST_DAY = date(1999, 1, 4)
"""The first day of which there are rates of the euro."""
_AGAIN = timedelta(days=3)
"""So many days that are stored already are asked for again: rates are corrected now and then."""


class RateFeed:
    """One source of rates, which is asked for what is new every ``poll_seconds``."""

    def __init__(
        self, source: RateSource, store: RateStore, states: SourceStates, poll_seconds: float, now: Clock
    ) -> None:
        self._source = source
        self._store = store
        self._states = states
        self._poll_seconds = poll_seconds
        self._now = now
        self._status = SourceStatus(SourceState.CONNECTING)

    async def lead(self, lease: Lease) -> None:
        """Take in rates for ever. Raises LeaseLost when another replica leads."""
        self._status = SourceStatus(SourceState.CONNECTING, has_history=False)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(tell_status(self._states, lease, lambda: self._status))
            tasks.create_task(self._poll())

    async def _poll(self) -> None:
        patience = Patience()
        while True:
            try:
                await self._take()
            except SourceUnavailable as error:
                self._fail(str(error))
                await asyncio.sleep(patience.lost())
                continue
            except Exception:  # noqa: BLE001 - whatever fails is logged and tried again
                _log.exception("rates not stored", extra={"source": self._source.name})
                self._fail("its rates cannot be stored")
                await asyncio.sleep(patience.lost())
                continue
            patience.reset()
            await asyncio.sleep(self._poll_seconds)

    async def _take(self) -> None:
        newest = await self._store.newest_day(self._source.name)
        rates = await self._source.rates(_FIRST_DAY if newest is None else newest - _AGAIN)
        now = self._now()
        new = await self._store.add(rates) if rates else 0
        latest = max((rate.day for rate in rates), default=newest)
        latency = None if latest is None else now - datetime(latest.year, latest.month, latest.day, tzinfo=UTC)
        rows = self._status.rows + new
        self._status = SourceStatus(SourceState.LIVE, "", now, latency, rows, reconnects=self._status.reconnects)

    def _fail(self, problem: str) -> None:
        before = self._status
        reconnects = before.reconnects + (before.state is SourceState.LIVE)
        self._status = SourceStatus(
            SourceState.DOWN,
            problem,
            before.last_message_time,
            before.latency,
            before.rows,
            reconnects=reconnects,
            has_history=before.has_history,
        )
