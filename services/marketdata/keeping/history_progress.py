"""How far the histories are of which another replica fetches the candles."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Interval, SymbolState
from services.marketdata.domain.series import Progress
from services.marketdata.ports.candles import CandleStore, History
from services.marketdata.ports.source_states import SourceStates

_log = logging.getLogger(__name__)

_READ_SECONDS = 2.0


class HistoryProgress:
    """Reads again and again how far the histories of sources are that are not led here."""

    def __init__(
        self,
        fetched: Mapping[str, Collection[Interval]],
        is_led_here: Callable[[str], bool],
        states: SourceStates,
        candles: CandleStore,
        catalog: Catalog,
    ) -> None:
        """``fetched`` tells of which intervals of a source history is fetched."""
        self._fetched = fetched
        self._is_led_here = is_led_here
        self._states = states
        self._candles = candles
        self._catalog = catalog
        self._known: dict[str, list[Progress]] = {}

    def of(self, source: str) -> list[Progress]:
        """How far the histories of ``source`` were when they were read last."""
        return self._known.get(source, [])

    async def run(self) -> None:
        """Read for ever."""
        while True:
            try:
                led = await self._states.all()
                for name in self._fetched:
                    status = led[name].status if name in led else None
                    if status is None or status.source_time is None or self._is_led_here(name):
                        self._known.pop(name, None)
                    else:
                        self._known[name] = await self._read(name, status.source_time, complete=status.has_history)
            except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
                _log.warning("progress of histories not read", extra={"problem": repr(error)})
            await asyncio.sleep(_READ_SECONDS)

    async def _read(self, source: str, source_time: datetime, *, complete: bool) -> list[Progress]:
        return [
            _progress(symbol.symbol, interval, history, source_time, complete=complete)
            for symbol in self._catalog.all()
            if symbol.source == source and symbol.state is SymbolState.ACTIVE
            for interval in self._fetched[source]
            if (history := await self._candles.history(symbol.symbol, interval)) is not None
        ]


def _progress(symbol: str, interval: Interval, history: History, source_time: datetime, *, complete: bool) -> Progress:
    length, start = interval.length, history.start_time
    end = max(interval.floor(source_time), history.next_open)
    total, stored = (end - start) // length, (history.next_open - start) // length
    return Progress(symbol, interval, start, end - length, total, stored, complete and history.live_from is not None)
