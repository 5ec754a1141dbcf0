"""Trades that arrive while the ones before them are being stored are taken at once, not when the next ones come."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from services.marketdata.domain.market import Trade
from services.marketdata.domain.sequence import Step
from tests.marketdata import BTC, World, a_world, until


@pytest.fixture
def world(database_url: Callable[[str], str], redis_url: str, certificates: Path, tmp_path: Path) -> World:
    return a_world(database_url("marketdata"), redis_url, certificates, tmp_path)


def newest_of(steps: list[Step]) -> Trade:
    return [step for step in steps if isinstance(step, Trade)][-1]


async def test_the_last_trades_of_a_market_do_not_wait_for_another_one(world: World) -> None:
    async with world.exchange.running(), world.source() as source:
        symbol = next(each for each in await source.symbols() if each.symbol == BTC)
        first = asyncio.ensure_future(source.trades(symbol))
        while not first.done():
            await world.exchange.goes_on_for(20)
        taken = newest_of(await first)
        # Nobody waits for these, and after them the market stands still.
        await world.exchange.goes_on_for(200)

        async def are_all_taken() -> bool:
            nonlocal taken
            taken = newest_of(await source.trades(symbol))
            return not await source.past_trades(symbol, taken, taken.trade_time)

        await until(are_all_taken)
