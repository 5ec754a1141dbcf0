"""Where reference rates of currencies come from: the European Central Bank, and exchange-rate services."""

import asyncio
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from defusedxml import ElementTree

from services.marketdata.adapters.inspection import as_json
from services.marketdata.domain.market import Channel, SourceKind, exact
from services.marketdata.domain.quarantine import Reason, Refused
from services.marketdata.domain.rates import Rate
from services.marketdata.domain.rules import Fault, rate_fault
from services.marketdata.ports.quarantine import Quarantine
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import EcbSettings, RatesSettings
from services.runtime.clock import Clock, utc_now

_RECENT = timedelta(days=80)
"""The file of the last 90 days surely has so many."""
_YEAR, _DAY = timedelta(days=360), timedelta(days=1)
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_UNREADABLE = (ArithmeticError, ValueError, KeyError, TypeError, AttributeError, IndexError, zipfile.BadZipFile)
_STYLES = {"er_api": "https://open.er-api.com/v6", "frankfurter": "https://api.frankfurter.dev/v1"}

Raw = tuple[str, str, object]
"""The day, the currency and the rate as they are written."""


class _HttpRates:
    """Asks for rates and judges them: what breaks a rule goes into quarantine."""

    def __init__(self, name: str, session: aiohttp.ClientSession, quarantine: Quarantine, now: Clock) -> None:
        self._name = name
        self._session = session
        self._quarantine = quarantine
        self._now = now

    @property
    def name(self) -> str:
        """The name of the source."""
        return self._name

    async def _get(self, url: str) -> bytes:
        try:
            async with self._session.get(url, timeout=_TIMEOUT) as response:
                response.raise_for_status()
                return await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError, asyncio.IncompleteReadError) as error:
            raise self._unavailable(url, error) from error

    def _unavailable(self, url: str, error: Exception) -> SourceUnavailable:
        # Without the rest of the address, which aiohttp spells out in some errors: keys of services stand in it.
        if isinstance(error, aiohttp.ClientResponseError):
            words = f"{error.status} {error.message}"
        else:
            words = "" if isinstance(error, aiohttp.InvalidURL) else str(error)
        what = f"{type(error).__name__}: {words}"[:200]
        place = urlsplit(url)
        where = f"{place.hostname}/…/{place.path.rpartition('/')[2]}"
        return SourceUnavailable(f"{self._name} did not answer {where} as expected: {what}; check its base_url")

    def _judged(self, base: str, rows: Iterable[Raw], since: date) -> list[Rate]:
        today, rates = self._now().date(), []
        for day, quote, number in rows:
            rate, fault = _read(self._name, base, day, quote, number)
            if rate is not None:
                if rate.day < since or rate.quote == base:
                    continue
                fault = rate_fault(rate, today)
            if fault is None and rate is not None:
                rates.append(rate)
            elif fault is not None:
                self._refuse(base, (day, quote, number), fault)
        return sorted(rates, key=lambda rate: (rate.day, rate.quote))

    def _refuse(self, base: str, raw: Raw, fault: Fault) -> None:
        symbol = f"{base}-{raw[1]}@{self._name}"
        self._quarantine.put(
            Refused(self._name, symbol, Channel.TICKERS, fault.reason, fault.detail, as_json(raw), self._now())
        )


class EcbRates(_HttpRates):
    """Implements RateSource: euro reference rates, by day from 1999 on."""

    kind = SourceKind.ECB

    def __init__(
        self, settings: EcbSettings, session: aiohttp.ClientSession, quarantine: Quarantine, now: Clock
    ) -> None:
        super().__init__(settings.name, session, quarantine, now)
        self._folder = settings.base_url.rstrip("/")

    async def rates(self, since: date) -> list[Rate]:
        today = self._now().date()
        if since >= today:
            file, read = "eurofxref-daily.xml", _days_in_xml
        elif since >= today - _RECENT:
            file, read = "eurofxref-hist-90d.xml", _days_in_xml
        else:
            file, read = "eurofxref-hist.zip", _days_in_zip
        url = f"{self._folder}/{file}"
        answer = await self._get(url)
        try:
            rows = await asyncio.to_thread(lambda: list(read(answer)))
        except (*_UNREADABLE, ElementTree.ParseError) as error:
            raise self._unavailable(url, error) from error
        return self._judged("EUR", rows, since)


class ServiceRates(_HttpRates):
    """Implements RateSource by an exchange-rate service."""

    kind = SourceKind.RATES

    def __init__(
        self, settings: RatesSettings, session: aiohttp.ClientSession, quarantine: Quarantine, now: Clock
    ) -> None:
        super().__init__(settings.name, session, quarantine, now)
        self._settings = settings
        self._base_url = (settings.base_url or _STYLES[settings.style]).rstrip("/")

    async def rates(self, since: date) -> list[Rate]:
        base = self._settings.base
        if self._settings.style == "er_api":
            rows = await self._rows(f"{self._base_url}/latest/{base}", _newest_in_json)
            return self._judged(base, rows, since)
        rows, start = [], since
        while start <= self._now().date():
            # Of longer spans such services leave days out.
            end = start + _YEAR
            rows += await self._rows(f"{self._base_url}/{start}..{end}?base={base}", _days_in_json)
            start = end + _DAY
        return self._judged(base, rows, since)

    async def _rows(self, url: str, read: Callable[[Any], Iterator[Raw]]) -> list[Raw]:
        answer = await self._get(url)
        try:
            return list(read(json.loads(answer, parse_float=str, parse_int=str)))
        except _UNREADABLE as error:
            raise self._unavailable(url, error) from error


@asynccontextmanager
async def open_rate_source(
    settings: EcbSettings | RatesSettings, quarantine: Quarantine, now: Clock = utc_now
) -> AsyncIterator[EcbRates | ServiceRates]:
    """The source of ``settings``. Nothing is connected before the first use."""
    async with aiohttp.ClientSession() as session:
        if isinstance(settings, EcbSettings):
            yield EcbRates(settings, session, quarantine, now)
        else:
            yield ServiceRates(settings, session, quarantine, now)


def _read(source: str, base: str, day: str, quote: str, number: object) -> tuple[Rate | None, Fault | None]:
    try:
        return Rate(source, base, quote, date.fromisoformat(day), exact(Decimal(str(number)))), None
    except (ArithmeticError, ValueError) as error:
        return None, Fault(Reason.MALFORMED, f"{type(error).__name__}: {error}"[:200])


def _days_in_xml(answer: bytes) -> Iterator[Raw]:
    """``<Cube time="…"><Cube currency="…" rate="…"/>…``, in whatever namespace."""
    root = ElementTree.fromstring(answer)
    days = [element for element in root.iter() if "time" in element.attrib]
    if not days:
        raise ValueError("there is no day in it")
    for element in days:
        for each in element:
            yield element.attrib["time"], each.attrib["currency"], each.attrib["rate"]


def _days_in_zip(answer: bytes) -> Iterator[Raw]:
    """A CSV file with a column for each currency, which says N/A where there was no rate."""
    with zipfile.ZipFile(io.BytesIO(answer)) as archive, archive.open(archive.namelist()[0]) as file:
        for row in csv.DictReader(io.TextIOWrapper(file, "utf-8")):
            day = row["Date"]
            for quote, rate in row.items():
                if quote and quote.strip() and quote != "Date" and rate and rate.strip() != "N/A":
                    yield day, quote.strip(), rate.strip()


def _newest_in_json(answer: Any) -> Iterator[Raw]:
    """``{"time_last_update_unix": …, "rates": {"EUR": …}}``, as open.er-api.com answers."""
    if answer.get("result") == "error":
        raise ValueError(str(answer.get("error-type")))
    day = datetime.fromtimestamp(int(answer["time_last_update_unix"]), UTC).date().isoformat()
    for quote, rate in answer["rates"].items():
        yield day, quote, rate


def _days_in_json(answer: Any) -> Iterator[Raw]:
    """``{"rates": {"2024-03-05": {"EUR": …}}}``, as frankfurter.dev answers."""
    for day, rates in answer["rates"].items():
        for quote, rate in rates.items():
            yield day, quote, rate
