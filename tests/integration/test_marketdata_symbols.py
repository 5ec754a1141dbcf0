"""Symbols: what sources report, what admins change, and that every change is one version."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from pydantic import SecretStr

from services.marketdata.adapters.symbols import PostgresSymbols
from services.marketdata.domain.market import Symbol, SymbolState
from services.marketdata.errors import SymbolActive, SymbolNotFound, VersionConflict
from services.marketdata.use_cases.symbols import ChangeSymbol, DeleteSymbol
from services.runtime.database import open_database

BTC = Symbol("BTC-USDT@simex", "BTC", "USDT", "simex", "BTC/USDT", Decimal("0.01"), Decimal("0.00001"), Decimal(5))


class News:
    """Remembers what replicas are told."""

    def __init__(self) -> None:
        self.told: list[Symbol | str] = []

    async def changed(self, symbols: Sequence[Symbol]) -> None:
        self.told += symbols

    async def removed(self, symbol: str) -> None:
        self.told.append(symbol)


@pytest.fixture
async def store(database_url: Callable[[str], str]) -> AsyncIterator[PostgresSymbols]:
    async with open_database(SecretStr(database_url("marketdata"))) as engine:
        yield PostgresSymbols(engine)


@pytest.fixture
def news() -> News:
    return News()


async def test_what_a_source_reports_again_changes_nothing(store: PostgresSymbols) -> None:
    await store.put_reported([BTC])
    await store.put_reported([replace(BTC, price_step=Decimal("0.010"))])

    assert await store.symbols() == [BTC]


async def test_what_a_source_reports_otherwise_is_the_next_version_as_a_whole(store: PostgresSymbols) -> None:
    await store.put_reported([BTC])
    finer = replace(BTC, price_step=Decimal("0.001"), quantity_step=Decimal("0.0001"))

    await store.put_reported([finer])

    assert await store.symbols() == [replace(finer, version=2)]


async def test_what_an_admin_changed_stays_until_the_source_reports_something_else(
    store: PostgresSymbols, news: News
) -> None:
    await store.put_reported([BTC])
    changed = await ChangeSymbol(store, news)("BTC-USDT@simex", {"min_notional": Decimal(10), "book_depth": 20})
    assert (changed.version, changed.min_notional, changed.book_depth) == (2, Decimal(10), 20)

    await store.put_reported([BTC])
    assert await store.symbols() == [changed]

    await store.put_reported([replace(BTC, min_notional=Decimal(7))])
    (found,) = await store.symbols()
    assert (found.version, found.min_notional, found.book_depth) == (3, Decimal(7), 20)


async def test_a_deactivated_symbol_stays_so_when_its_source_is_found_again(store: PostgresSymbols, news: News) -> None:
    await store.put_reported([BTC])
    await ChangeSymbol(store, news)(BTC.symbol, {"state": SymbolState.INACTIVE})

    await store.put_reported([BTC])

    assert [symbol.state for symbol in await store.symbols()] == [SymbolState.INACTIVE]


async def test_a_change_to_what_is_already_there_is_no_new_version(store: PostgresSymbols, news: News) -> None:
    await store.put_reported([BTC])

    changed = await ChangeSymbol(store, news)(BTC.symbol, {"state": SymbolState.ACTIVE})

    assert changed.version == 1


async def test_of_two_changes_to_one_version_the_second_is_refused(store: PostgresSymbols, news: News) -> None:
    await store.put_reported([BTC])
    change = ChangeSymbol(store, news)

    async def to(depth: int) -> Any:
        return await change(BTC.symbol, {"book_depth": depth}, expected_version=1)

    outcomes = await asyncio.gather(to(10), to(20), return_exceptions=True)

    assert [type(outcome) for outcome in outcomes if isinstance(outcome, Exception)] == [VersionConflict]
    (found,) = await store.symbols()
    assert found.version == 2
    assert news.told == [found]


async def test_parallel_changes_of_different_fields_are_all_kept(store: PostgresSymbols, news: News) -> None:
    await store.put_reported([BTC])
    change = ChangeSymbol(store, news)
    changes: list[dict[str, Any]] = [
        {"price_step": Decimal("0.1")},
        {"quantity_step": Decimal("0.1")},
        {"min_quantity": Decimal("0.1")},
        {"max_quantity": Decimal(9)},
    ]

    await asyncio.gather(*(change(BTC.symbol, each) for each in changes))

    (found,) = await store.symbols()
    assert found == replace(BTC, version=5, **{name: value for each in changes for name, value in each.items()})


async def test_an_active_symbol_is_not_deleted(store: PostgresSymbols, news: News) -> None:
    await store.put_reported([BTC])
    with pytest.raises(SymbolActive):
        await DeleteSymbol(store, news)(BTC.symbol)

    await ChangeSymbol(store, news)(BTC.symbol, {"state": SymbolState.INACTIVE})
    await DeleteSymbol(store, news)(BTC.symbol)

    assert await store.symbols() == []
    assert news.told[-1] == BTC.symbol
    with pytest.raises(SymbolNotFound):
        await DeleteSymbol(store, news)(BTC.symbol)


async def test_two_replicas_that_find_their_markets_at_once_do_not_disturb_each_other(store: PostgresSymbols) -> None:
    many = [replace(BTC, symbol=f"A{number}-USDT@simex") for number in range(30)]

    await asyncio.gather(store.put_reported(many), store.put_reported(many[::-1]))

    assert {symbol.version for symbol in await store.symbols()} == {1}
