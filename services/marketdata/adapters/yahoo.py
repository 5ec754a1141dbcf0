"""Yahoo's prices through the library yfinance, which blocks: its calls are made in a thread, one at a time."""

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
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
            library = _library()
            try:
                return ask(library.Ticker(ticker, session=self._session))
            except library.exceptions.YFTickerMissingError:
                return None
            except OSError as error:
                if getattr(getattr(error, "response", None), "status_code", None) == HTTPStatus.NOT_FOUND:
                    return None
                raise

        async with self._turn:
            try:
                return await asyncio.to_thread(work)
            except Exception as error:
                what = f"{type(error).__name__}: {error}"[:300]
                raise SourceUnavailable(
                    f"{self._name} did not answer as expected about {ticker}: {what}; check that this machine"
                    " reaches it, and its base_url"
                ) from error


@cache
def _library() -> Any:
    """The library, which is loaded when it is first needed: it takes seconds, and not everybody follows shares."""
    import yfinance

    folder = tempfile.mkdtemp(prefix="yahoo-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    yfinance.set_tz_cache_location(folder)
    yfinance.config.debug.hide_exceptions = False
    return yfinance


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
