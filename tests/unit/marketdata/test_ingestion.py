"""How a stream of a producer is read ahead, committed and acknowledged."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from services.marketdata.catalog import Catalog
from services.marketdata.domain.market import Trade
from services.marketdata.domain.quarantine import Refused
from services.marketdata.domain.rules import Retention, TradeOrder
from services.marketdata.errors import IngestSequenceInvalid
from services.marketdata.feeding.ingestion import MOST_WAITING, Acknowledged, Batch, acknowledged
from services.marketdata.ports.leases import Lease
from services.marketdata.ports.trades import Stored
from services.marketdata.source_settings import IngestSettings
from services.marketdata.use_cases.ingest import IngestTrades, Offered
from tests.unit.marketdata.builders import BTC, NOON, a_symbol, a_trade

_A_BATCH = 10_000


@dataclass
class Store:
    """Where the trades go, once the gate is open."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    trades: list[Trade] = field(default_factory=list)

    async def write(self, trades: Sequence[Trade], lease: Lease | None) -> Stored:
        assert lease is None
        await self.gate.wait()
        self.trades += trades
        return Stored([*trades], 0, [])

    async def add(self, rows: Sequence[Refused]) -> None:
        raise AssertionError(rows)

    def ingest(self) -> IngestTrades:
        catalog = Catalog()
        catalog.add([a_symbol()])
        kept = Retention(timedelta(days=7), timedelta(days=7))
        return IngestTrades(catalog, {"simex": IngestSettings(name="simex")}, self.write, self, kept, lambda: NOON)


def a_batch(sequence: int, size: int = 1) -> Batch:
    trade = a_trade(sequence, -60)

    def read(_received: datetime) -> Trade:
        return trade

    return Batch(sequence, [Offered(BTC, str, read)] * size)


class Producer:
    """Sends batches, and knows how many were asked for."""

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self.asked = 0

    async def batches(self) -> AsyncIterator[Batch]:
        for batch in self._batches:
            self.asked += 1
            yield batch


async def the_rest(
    stream: AsyncIterator[Acknowledged | None], seen: list[Acknowledged] | None = None
) -> list[Acknowledged]:
    answers = [] if seen is None else seen
    async for event in stream:
        if event is not None:
            answers.append(event)
    return answers


async def test_a_stream_is_read_no_further_than_so_many_trades_ahead() -> None:
    store, producer = Store(), Producer([a_batch(number, _A_BATCH) for number in range(1, 21)])
    stream = acknowledged(producer.batches(), store.ingest())
    assert await anext(stream) is None
    answer = asyncio.ensure_future(the_rest(stream))
    for _ in range(1_000):
        await asyncio.sleep(0)
    # One more is held, for which there is no room yet.
    assert producer.asked == MOST_WAITING // _A_BATCH + 1

    store.gate.set()
    answers = await answer
    assert answers[-1].sequence == 20
    assert len(store.trades) == 20 * _A_BATCH == sum(each.stored for each in answers)


async def test_what_waits_is_committed_together_and_acknowledged_by_its_last_number() -> None:
    store = Store()
    store.gate.set()
    stream = acknowledged(Producer([a_batch(number) for number in (2, 3, 9)]).batches(), store.ingest())
    answers = await the_rest(stream)
    assert answers[-1].sequence == 9
    assert sum(each.stored for each in answers) == 3


async def test_what_came_before_a_wrong_number_is_acknowledged_first() -> None:
    store = Store()
    store.gate.set()
    stream = acknowledged(Producer([a_batch(2), a_batch(3), a_batch(3)]).batches(), store.ingest())
    seen: list[Acknowledged] = []
    with pytest.raises(IngestSequenceInvalid):
        await the_rest(stream, seen)
    assert seen[-1].sequence == 3


async def test_a_producer_that_goes_away_leaves_nothing_running() -> None:
    store = Store()
    stream = acknowledged(Producer([a_batch(1)]).batches(), store.ingest())
    assert await anext(stream) is None
    waiting = asyncio.ensure_future(the_rest(stream))
    await asyncio.sleep(0)
    before = len(asyncio.all_tasks())
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert before > len(asyncio.all_tasks()) == 1


async def test_others_have_their_turn_while_many_rows_are_judged() -> None:
    judging = asyncio.create_task(Store().ingest().judge(a_batch(1, _A_BATCH).rows, TradeOrder()))
    turns = 0
    while not judging.done():
        turns += 1
        await asyncio.sleep(0)
    assert len(judging.result().trades) == _A_BATCH
    assert turns > 10
