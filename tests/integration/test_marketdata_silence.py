"""A feed that goes silent is noticed and connected anew, and what was missed is fetched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from services.marketdata.adapters.trades import PostgresTrades
from services.runtime.database import open_database
from tests.exchange_proxy import ExchangeProxy
from tests.marketdata import BTC, World, a_world, until

NEVER = 10**9


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def ids_of(world: World) -> list[int]:
    async with open_database(world.settings().database_url) as engine:
        return [int(trade.trade_id) for trade in await PostgresTrades(engine).after(BTC, 0, 1_000_000)]


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
