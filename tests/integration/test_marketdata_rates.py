"""Reference rates in PostgreSQL: written once, read for a day or shortly before."""

from collections.abc import AsyncIterator, Callable
from datetime import date
from decimal import Decimal

import pytest
from pydantic import SecretStr

from services.marketdata.adapters.rates import PostgresRates
from services.marketdata.domain.rates import Rate
from services.runtime.database import open_database

TUESDAY = date(2024, 3, 5)


@pytest.fixture
async def store(database_url: Callable[[str], str]) -> AsyncIterator[PostgresRates]:
    async with open_database(SecretStr(database_url("marketdata"))) as engine:
        yield PostgresRates(engine)


def a_rate(quote: str, rate: str, day: int = 5, source: str = "ecb", base: str = "EUR") -> Rate:
    return Rate(source, base, quote, date(2024, 3, day), Decimal(rate))


async def test_rates_are_stored_once_and_corrections_count(store: PostgresRates) -> None:
    rates = [a_rate("USD", "1.0849"), a_rate("JPY", "162.89"), a_rate("USD", "1.08460000", day=4)]
    assert await store.newest_day("ecb") is None
    assert [await store.add(rates), await store.add(rates)] == [3, 0]
    assert await store.add([a_rate("USD", "1.0850"), a_rate("JPY", "162.89")]) == 1
    assert (await store.newest_day("ecb"), await store.newest_day("other")) == (TUESDAY, None)


async def test_more_rates_than_go_at_once_are_all_stored(store: PostgresRates) -> None:
    rates = [Rate("ecb", "EUR", f"C{index}", TUESDAY, Decimal(1)) for index in range(10_001)]
    assert await store.add(rates) == 10_001


async def test_the_rates_of_a_day_are_those_of_the_last_day_before_that_has_them_all(store: PostgresRates) -> None:
    await store.add([a_rate("USD", "1.08", day=1), a_rate("JPY", "163", day=1), a_rate("USD", "1.09", day=4)])
    (both,) = await store.of_day(TUESDAY, ["USD", "JPY"], "")
    assert [(rate.quote, rate.rate, rate.day.day) for rate in both] == [
        ("JPY", Decimal(163), 1),
        ("USD", Decimal("1.08"), 1),
    ]
    (with_base,) = await store.of_day(TUESDAY, ["EUR", "USD"], "")
    assert [(rate.quote, rate.day.day) for rate in with_base] == [("USD", 4)]
    assert await store.of_day(date(2024, 3, 12), ["USD", "JPY"], "") == []
    assert len(await store.of_day(date(2024, 3, 11), ["USD"], "")) == 1
    assert await store.of_day(TUESDAY, ["XXX", "USD"], "") == []
    assert await store.of_day(TUESDAY, ["EUR"], "") == []


async def test_each_source_and_base_has_its_own_rates_the_newest_first(store: PostgresRates) -> None:
    await store.add(
        [
            a_rate("USD", "1.08", day=4),
            a_rate("EUR", "0.92", source="er_api", base="USD"),
            a_rate("USD", "1.07", day=4, source="bank"),
        ]
    )
    found = await store.of_day(TUESDAY, ["EUR", "USD"], "")
    assert [rates[0].source for rates in found] == ["er_api", "bank", "ecb"]
    assert [rates[0].source for rates in await store.of_day(TUESDAY, ["EUR", "USD"], "ecb")] == ["ecb"]
