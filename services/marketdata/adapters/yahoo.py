"""Yahoo's prices through the library yfinance, which blocks: its calls are made in a thread, one at a time."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter

from services.marketdata.ports.sources import SourceUnavailable

_TIMEOUT_SECONDS = 20

Bar = tuple[datetime, float, float, float, float, float]
"""When it opens, in UTC; of a day, midnight of its date in UTC. Open, high, low, close and volume."""


@dataclass(frozen=True, slots=True)
class Listing:
    """What Yahoo tells of a share."""

    currency: str
    time: datetime
    """When it traded last."""
    price: float
    """The price then."""


class Yahoo:
    """The service, at its own addresses or another one. Every method raises SourceUnavailable."""

    def __init__(self, name: str, base_url: str) -> None:
        self._name = name
        self._session = _moved_session(base_url) if base_url else None
        self._turn = asyncio.Lock()

    async def listing(self, ticker: str) -> Listing | None:
        """What is told of ``ticker``; None when there is no such share."""

        def ask(share: Any) -> Listing:
            share.history(period="1d", interval="1d", auto_adjust=False, actions=False, timeout=_TIMEOUT_SECONDS)
            told = share.history_metadata
            time = told["regularMarketTime"].to_pydatetime().astimezone(UTC)
            return Listing(str(told["currency"]), time, float(told["regularMarketPrice"]))

        listing: Listing | None = await self._ask(ticker, ask)
        return listing

    async def bars(self, ticker: str, interval: str, start: datetime, end: datetime) -> Sequence[Bar]:
        """The bars that open in [start, end), by time; the last may not be over."""

        def ask(share: Any) -> list[Bar]:
            frame = share.history(
                start=start,
                end=end,
                interval=interval,
                auto_adjust=False,
                actions=False,
                timeout=_TIMEOUT_SECONDS,
            )
            columns = (frame[column] for column in ("Open", "High", "Low", "Close", "Volume"))
            opens = [_opens(each.to_pydatetime(), interval) for each in frame.index]
            return list(zip(opens, *(map(float, column) for column in columns), strict=True))

        return await self._ask(ticker, ask) or []

    async def _ask(self, ticker: str, ask: Any) -> Any:
        def work() -> Any:
            import yfinance  # it takes seconds, and not everybody follows shares

            yfinance.config.debug.hide_exceptions = False
            try:
                return ask(yfinance.Ticker(ticker, session=self._session))
            except yfinance.exceptions.YFRateLimitError:
                raise
            except (yfinance.exceptions.YFPricesMissingError, yfinance.exceptions.YFTzMissingError):
                return None

        async with self._turn:
            try:
                return await asyncio.to_thread(work)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"[:300]
                raise SourceUnavailable(
                    f"{self._name} did not answer as expected about {ticker}: {what}; check that this machine"
                    " reaches it, and its base_url"
                ) from error


@asynccontextmanager
async def open_yahoo(name: str, base_url: str) -> AsyncIterator[Yahoo]:
    """Yahoo, at ``base_url`` where that is not empty. What the library remembers is forgotten at the end."""
    folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="yahoo-")
    try:
        await asyncio.to_thread(_remember_in, folder)
        yield Yahoo(name, base_url)
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _remember_in(folder: str) -> None:
    import yfinance  # as above

    yfinance.set_tz_cache_location(str(Path(folder)))


class _Moved(HTTPAdapter):
    """Sends every request to the host of ``base_url``, with the path that it has."""

    def __init__(self, base_url: str) -> None:
        super().__init__()
        self._base_url = base_url.rstrip("/")

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        parts = urlsplit(request.url or "")
        request.url = f"{self._base_url}{parts.path}" + (f"?{parts.query}" if parts.query else "")
        return super().send(request, *args, **kwargs)


def _moved_session(base_url: str) -> requests.Session:
    session = requests.Session()
    session.mount("https://", _Moved(base_url))
    return session


def _opens(moment: datetime, interval: str) -> datetime:
    if interval == "1d":
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    return moment.astimezone(UTC)
