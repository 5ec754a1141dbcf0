"""A feed that goes silent is noticed and connected anew, and what was missed is fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.marketdata.adapters.trades import PostgresTrades
from services.marketdata.domain.market import Trade
from services.runtime.database import open_database
from tests.exchange_proxy import ExchangeProxy
from tests.marketdata import BTC, World, a_world, until

NEVER = 10**9


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def trades_of(world: World) -> list[Trade]:
    async with open_database(world.settings().database_url) as engine:
        return await PostgresTrades(engine).after(BTC, 0, 1_000_000)


async def ids_of(world: World) -> list[int]:
    return [int(trade.trade_id) for trade in await trades_of(world)]


async def test_a_market_whose_trades_do_not_come_though_all_else_does_is_connected_anew(world: World) -> None:
    async with (
        world.exchange.running(),
        ExchangeProxy(world.exchange.url).running() as proxy,
        world.marketdata(base_url=proxy.url, symbols=("BTC-USDT",), silent_seconds=2.0) as service,
    ):
        await service.becomes("feed:simex", holds=True)
        await service.has_traded(BTC, world.exchange)
        connections = proxy.connections
        proxy.drop("BTCUSDT", "aggTrade", NEVER)
        while not proxy.dropped:
            await world.exchange.goes_on_for(20)

        async def is_connected_anew() -> bool:
            await world.exchange.goes_on_for(20)
            return proxy.connections > connections

        await until(is_connected_anew)
        proxy.drop("BTCUSDT", "aggTrade", 0)
        newest = max(await ids_of(world))

        async def has_them_all() -> bool:
            await world.exchange.goes_on_for(20)
            ids = set(await ids_of(world))
            return max(ids) > newest and len(ids) == max(ids) - min(ids) + 1

        await until(has_them_all)


async def test_the_last_trades_of_a_market_that_halts_are_fetched_when_they_did_not_come(world: World) -> None:
    async with (
        world.exchange.running(),
        ExchangeProxy(world.exchange.url).running() as proxy,
        world.marketdata(base_url=proxy.url, symbols=("BTC-USDT",), silent_seconds=1.0) as service,
    ):
        await service.becomes("feed:simex", holds=True)
        await service.has_traded(BTC, world.exchange)
        proxy.drop("BTCUSDT", "aggTrade", NEVER)
        while not proxy.dropped:
            await world.exchange.goes_on_for(20)
        async with world.source() as exchange:
            (symbol,) = [each for each in await exchange.symbols() if each.symbol == BTC]
            newest = max(await ids_of(world))
            stored = [trade for trade in await trades_of(world) if int(trade.trade_id) == newest]
            missing = await exchange.past_trades(symbol, stored[0], stored[0].trade_time)
        assert missing

        async def has_the_last_one() -> bool:
            # The exchange's clock stands: no other trade will ever show that these are missing.
            return max(await ids_of(world)) == int(missing[-1].trade_id)

        await until(has_the_last_one)
        ids = await ids_of(world)
        assert len(set(ids)) == max(ids) - min(ids) + 1
