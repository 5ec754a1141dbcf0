"""Trades are published after they are stored, each once, through failures of the store and of the journal."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from services.marketdata import trade_recorder
from services.marketdata.domain.market import Candle, Trade
from services.marketdata.domain.ticker import TickerBoard
from services.marketdata.trade_recorder import TradeRecorder
from tests.unit.marketdata.builders import BTC, a_trade


@dataclass
class FakeTradeStore:
    """The part of Store that takes trades; its first calls fail."""

    failures: int = 0
    stored: list[Trade] = field(default_factory=list)

    async def add_trades(self, trades: Sequence[Trade]) -> list[Trade]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database is away")
        new = [trade for trade in trades if trade not in self.stored]
        self.stored += new
        return new


@dataclass
class FakePublisher:
    """Implements Publisher; its first calls fail."""

    store: FakeTradeStore
    failures: int = 0
    published: list[Trade] = field(default_factory=list)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def trades(self, trades: Sequence[Trade]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the journal is away")
        assert all(trade in self.store.stored for trade in trades)
        self.published += trades
        self.done.set()

    async def candles(self, candles: Sequence[Candle]) -> None:
        raise AssertionError("a recorder of trades publishes no candles")


async def recorded(store: FakeTradeStore, publisher: FakePublisher, *trades: Trade) -> TickerBoard:
    """Record ``trades`` and return the board that shows them."""
    board = TickerBoard()
    recorder = TradeRecorder(store, publisher, board)
    recorder.add(trades)
    work = asyncio.create_task(recorder.run())
    async with asyncio.timeout(5):
        await publisher.done.wait()
    work.cancel()
    return board


async def test_trades_are_published_in_order_once_they_are_stored_though_store_and_journal_fail_first() -> None:
    store = FakeTradeStore(failures=1)
    publisher = FakePublisher(store, failures=1)
    trades = [a_trade(number, number) for number in range(3)]
    board = await recorded(store, publisher, *trades)
    assert publisher.published == trades
    ticker = board.ticker(BTC)
    assert ticker is not None
    assert ticker.last == trades[-1]


async def test_trades_that_were_stored_before_are_not_published_again() -> None:
    store = FakeTradeStore(stored=[a_trade(0, 0)])
    publisher = FakePublisher(store)
    await recorded(store, publisher, a_trade(0, 0), a_trade(1, 1))
    assert publisher.published == [a_trade(1, 1)]


async def test_while_the_store_is_away_only_so_many_trades_wait_the_newest() -> None:
    store = FakeTradeStore()
    publisher = FakePublisher(store)
    most = trade_recorder.MOST_WAITING
    await recorded(store, publisher, *[a_trade("old", 0)] * 3, *[a_trade("new", 1)] * most)
    assert {trade.trade_id for trade in store.stored} == {"new"}
