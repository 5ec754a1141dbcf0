"""Reference rates from servers that speak as the real ones do."""

import io
import zipfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.marketdata.adapters.rate_sources import EcbRates, ServiceRates, open_rate_source
from services.marketdata.domain.quarantine import Reason
from services.marketdata.domain.rates import Rate
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.source_settings import EcbSettings, RatesSettings
from tests.marketdata import RefusedRows

NOW = datetime(2024, 3, 5, 16, tzinfo=UTC)
_ECB_DAY = """
  <Cube time='{day}'>{rates}</Cube>"""
_ECB_FILE = """<?xml version="1.0" encoding="UTF-8"?>
<gesmes:Envelope xmlns:gesmes="http://www.gesmes.org/xml/2002-08-01" xmlns="http://www.ecb.int/vocabulary/2002-08-01/eurofxref">
 <gesmes:subject>Reference rates</gesmes:subject>
 <gesmes:Sender><gesmes:name>European Central Bank</gesmes:name></gesmes:Sender>
 <Cube>{days}
 </Cube>
</gesmes:Envelope>"""
_HISTORY = """Date,USD,JPY,BGN,
2024-03-05,1.0849,162.89,1.9558,
2024-03-04,1.0846,163.13,N/A,
1999-01-04,1.1789,133.73,N/A,
"""


def ecb_xml(days: Mapping[str, Mapping[str, str]]) -> str:
    return _ECB_FILE.format(
        days="".join(
            _ECB_DAY.format(
                day=day,
                rates="".join(f"\n   <Cube currency='{name}' rate='{rate}'/>" for name, rate in rates.items()),
            )
            for day, rates in days.items()
        )
    )


def ecb_zip(history: str = _HISTORY) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("eurofxref-hist.csv", history)
    return content.getvalue()


@asynccontextmanager
async def serving(answers: Mapping[str, str | bytes], asked: list[str] | None = None) -> AsyncIterator[str]:
    """A server that answers GET of these paths, and remembers in ``asked`` what it was asked."""

    async def answer(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append(request.path_qs)
        if request.path not in answers:
            raise web.HTTPNotFound
        body = answers[request.path]
        return web.Response(body=body.encode() if isinstance(body, str) else body)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with TestServer(application) as server:
        yield str(server.make_url("")).rstrip("/")


@asynccontextmanager
async def ecb(url: str, refused: RefusedRows | None = None) -> AsyncIterator[EcbRates | ServiceRates]:
    settings = EcbSettings(name="ecb", base_url=f"{url}/eurofxref")
    async with open_rate_source(settings, refused or RefusedRows(), lambda: NOW) as source:
        yield source


def a_rate(day: str, quote: str, rate: str) -> Rate:
    return Rate("ecb", "EUR", quote, date.fromisoformat(day), Decimal(rate))


async def test_the_rates_of_the_last_weeks_come_from_the_short_file() -> None:
    file = ecb_xml({"2024-03-05": {"USD": "1.0849", "JPY": "162.89"}, "2024-03-01": {"USD": "1.0813"}})
    asked: list[str] = []
    async with serving({"/eurofxref/eurofxref-hist-90d.xml": file}, asked) as url, ecb(url) as source:
        assert await source.rates(date(2024, 3, 2)) == [
            a_rate("2024-03-05", "JPY", "162.89"),
            a_rate("2024-03-05", "USD", "1.0849"),
        ]
        assert [rate.day.day for rate in await source.rates(date(2024, 3, 1))] == [1, 5, 5]
    assert set(asked) == {"/eurofxref/eurofxref-hist-90d.xml"}


async def test_the_rates_of_today_come_from_the_daily_file() -> None:
    file = ecb_xml({"2024-03-05": {"USD": "1.0849"}})
    async with serving({"/eurofxref/eurofxref-daily.xml": file}) as url, ecb(url) as source:
        assert await source.rates(date(2024, 3, 5)) == [a_rate("2024-03-05", "USD", "1.0849")]


async def test_older_rates_come_from_the_history_without_what_is_not_available() -> None:
    async with serving({"/eurofxref/eurofxref-hist.zip": ecb_zip()}) as url, ecb(url) as source:
        rates = await source.rates(date(1999, 1, 4))
    assert [(rate.day.isoformat(), rate.quote, str(rate.rate)) for rate in rates] == [
        ("1999-01-04", "JPY", "133.73"),
        ("1999-01-04", "USD", "1.1789"),
        ("2024-03-04", "JPY", "163.13"),
        ("2024-03-04", "USD", "1.0846"),
        ("2024-03-05", "BGN", "1.9558"),
        ("2024-03-05", "JPY", "162.89"),
        ("2024-03-05", "USD", "1.0849"),
    ]


async def test_rates_that_break_a_rule_go_to_quarantine() -> None:
    file = ecb_xml({"2024-03-05": {"USD": "-1", "JPY": "x", "GBP": "0.85"}, "2024-04-05": {"USD": "1.1"}})
    refused = RefusedRows()
    async with serving({"/eurofxref/eurofxref-hist-90d.xml": file}) as url, ecb(url, refused) as source:
        assert await source.rates(date(2024, 3, 1)) == [a_rate("2024-03-05", "GBP", "0.85")]
    assert [(row.symbol, row.reason) for row in refused.rows] == [
        ("EUR-USD@ecb", Reason.PRICE),
        ("EUR-JPY@ecb", Reason.MALFORMED),
        ("EUR-USD@ecb", Reason.FUTURE),
    ]


@pytest.mark.parametrize("answer", ["", "<html>", "<Envelope/>", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
async def test_an_answer_that_is_no_file_of_rates_is_an_error_in_words(answer: str) -> None:
    async with serving({"/eurofxref/eurofxref-hist-90d.xml": answer}) as url, ecb(url) as source:
        with pytest.raises(SourceUnavailable, match=r"did not answer .*eurofxref-hist-90d\.xml as expected"):
            await source.rates(date(2024, 3, 1))


async def test_a_server_that_is_not_there_is_said_with_what_to_do() -> None:
    async with ecb("http://127.0.0.1:9") as source:
        with pytest.raises(SourceUnavailable, match="check its base_url"):
            await source.rates(date(2024, 3, 1))
    async with serving({}) as url, ecb(url) as source:
        with pytest.raises(SourceUnavailable, match="404"):
            await source.rates(date(2024, 3, 1))


async def test_a_service_of_newest_rates_tells_their_day() -> None:
    answer = """{"result":"success","documentation":"https://www.exchangerate-api.com/docs/free",
      "time_last_update_unix":1709596951,"time_next_update_unix":1709684261,"base_code":"USD",
      "rates":{"USD":1,"AED":3.6725,"EUR":0.92139812,"JPY":150.5}}"""
    async with serving({"/v6/latest/USD": answer}) as url:
        settings = RatesSettings(name="er_api", base_url=f"{url}/v6")
        async with open_rate_source(settings, RefusedRows(), lambda: NOW) as source:
            rates = await source.rates(date(2024, 3, 1))
    assert [(rate.base, rate.quote, str(rate.rate), rate.day) for rate in rates] == [
        ("USD", "AED", "3.6725", date(2024, 3, 5)),
        ("USD", "EUR", "0.92139812", date(2024, 3, 5)),
        ("USD", "JPY", "150.5", date(2024, 3, 5)),
    ]


async def test_an_error_of_a_service_is_told() -> None:
    async with serving({"/v6/latest/USD": '{"result":"error","error-type":"unsupported-code"}'}) as url:
        settings = RatesSettings(name="er_api", base_url=f"{url}/v6")
        async with open_rate_source(settings, RefusedRows(), lambda: NOW) as source:
            with pytest.raises(SourceUnavailable, match="unsupported-code"):
                await source.rates(date(2024, 3, 1))


async def test_a_service_with_history_is_asked_for_all_days_since_then() -> None:
    answer = """{"amount":1.0,"base":"USD","start_date":"2024-03-04","end_date":"2024-03-05",
      "rates":{"2024-03-04":{"EUR":0.92200,"GBP":0.78895},"2024-03-05":{"EUR":0.92174}}}"""
    asked: list[str] = []
    async with serving({"/v1/2024-03-02..2025-02-25": answer}, asked) as url:
        settings = RatesSettings(name="frankfurter", style="frankfurter", base_url=f"{url}/v1")
        async with open_rate_source(settings, RefusedRows(), lambda: NOW) as source:
            rates = await source.rates(date(2024, 3, 2))
    assert asked == ["/v1/2024-03-02..2025-02-25?base=USD"]
    assert [(rate.day.day, rate.quote, str(rate.rate)) for rate in rates] == [
        (4, "EUR", "0.922"),
        (4, "GBP", "0.78895"),
        (5, "EUR", "0.92174"),
    ]


async def test_a_key_in_the_address_of_a_service_is_not_told() -> None:
    async with (
        serving({}) as url,
        open_rate_source(RatesSettings(name="paid", base_url=f"{url}/v6/s3cr3t"), RefusedRows(), lambda: NOW) as source,
    ):
        with pytest.raises(SourceUnavailable, match="404") as failed:
            await source.rates(NOW.date())
    assert "s3cr3t" not in str(failed.value)
