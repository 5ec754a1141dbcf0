"""Several sources are followed at once, and symbols as they are activated and deactivated."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from levimesh.marketdata.v1 import quality_service_pb2, quality_service_pb2_grpc, source_pb2
from levimesh.marketdata.v1 import symbol_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_service_pb2_grpc as pb_grpc
from services.marketdata.adapters.trades import PostgresTrades
from services.runtime.database import open_database
from tests.marketdata import BTC, ETH, World, a_world, until
from tests.mesh import a_token, bearing

SYMBOLS = pb.DESCRIPTOR.services_by_name["SymbolService"]
QUALITY = quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"]


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


async def count(world: World, symbol: str) -> int:
    async with open_database(world.settings().database_url) as engine:
        return len(await PostgresTrades(engine).after(symbol, 0, 1_000_000))


async def has_more(world: World, symbol: str) -> None:
    """Let the exchange go on until more trades of a symbol are stored."""
    before = await count(world, symbol)

    async def is_more() -> bool:
        await world.exchange.goes_on_for(20)
        return await count(world, symbol) > before

    await until(is_more)


async def test_a_symbol_is_followed_while_it_is_active_and_what_was_missed_meanwhile_is_fetched(world: World) -> None:
    async with world.exchange.running(), world.marketdata() as service:
        symbols = pb_grpc.SymbolServiceStub(service.served.channel(SYMBOLS))
        admin = bearing(a_token("ROLE_ADMIN"))
        await has_more(world, BTC)

        await symbols.DeactivateSymbol(pb.DeactivateSymbolRequest(symbol=BTC), metadata=admin)
        stopped = -1
        while stopped != (stopped := await count(world, BTC)):
            await has_more(world, ETH)
        await world.exchange.goes_on_for(100)

        await symbols.ActivateSymbol(pb.ActivateSymbolRequest(symbol=BTC), metadata=admin)
        await has_more(world, BTC)

        async def is_whole() -> bool:
            async with open_database(world.settings().database_url) as engine:
                trades = await PostgresTrades(engine).after(BTC, 0, 1_000_000)
            ids = {int(trade.trade_id) for trade in trades}
            return len(ids) == max(ids) - min(ids) + 1

        await until(is_whole)


async def test_several_sources_are_followed_at_once(world: World) -> None:
    second = {
        "kind": "exchange",
        "exchange": "binance",
        "name": "other",
        "base_url": world.exchange.url,
        "symbols": ["ETH-USDT"],
        "settle_seconds": 0.2,
    }
    async with (
        world.exchange.running(),
        world.marketdata(symbols=("BTC-USDT",), sources=json.dumps([second])) as service,
    ):
        await has_more(world, BTC)
        await has_more(world, "ETH-USDT@other")
        assert await count(world, ETH) == 0

        stub = quality_service_pb2_grpc.DataQualityServiceStub(service.served.channel(QUALITY))

        async def are_live() -> bool:
            listed = await stub.ListSources(quality_service_pb2.ListSourcesRequest(), metadata=service.metadata)
            return [(source.source, source.state, source.symbols) for source in listed.sources] == [
                ("other", source_pb2.SOURCE_STATE_LIVE, 1),
                ("simex", source_pb2.SOURCE_STATE_LIVE, 1),
            ]

        await until(are_live)
