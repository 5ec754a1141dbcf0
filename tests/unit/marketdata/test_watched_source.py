"""A source is watched: when it was heard of, how late its trades come, and whether it is left alone for a while."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from services.marketdata.domain.book import BookChange
from services.marketdata.domain.market import AssetType, Candle, Channel, Interval, SourceKind, Symbol, Trade
from services.marketdata.domain.sequence import Step
from services.marketdata.feeding import watched_source
from services.marketdata.feeding.watched_source import WatchedSource
from services.marketdata.ports.sources import SourceUnavailable
from tests.unit.marketdata.builders import NOON, a_candle, a_trade, at

SYMBOL = Symbol("BTC-USDT@simex", "BTC", "USDT", "simex", "BTC/USDT", *(a_candle(0).volume,) * 3)


@dataclass
class FakeSource:
    """Implements Source; ``problem`` is raised by requests."""

    problem: str = ""
    asked: int = 0
    steps: list[Step] = field(default_factory=list)
    name: str = "simex"
    kind: SourceKind = SourceKind.EXCHANGE
    asset_type: AssetType = AssetType.CRYPTO
    channels: frozenset[Channel] = frozenset({Channel.TRADES})
    intervals: frozenset[Interval] = frozenset()
    connections: int = 1

    async def reconnect(self) -> None:
        self.connections += 1

    async def symbols(self) -> list[Symbol]:
        return [SYMBOL]

    async def market(self, symbol: str, source_symbol: str) -> Symbol | None:
        return SYMBOL

    async def now(self) -> datetime:
        self.asked += 1
        if self.problem:
            raise SourceUnavailable(self.problem)
        return NOON

    async def candles(self, symbol: Symbol, interval: Interval, start: datetime) -> list[Candle]:
        return []

    async def trades(self, symbol: Symbol) -> list[Step]:
        return self.steps

    async def past_trades(self, symbol: Symbol, after: Trade | None, start: datetime) -> Sequence[Trade]:
        return []

    async def book(self, symbol: Symbol) -> list[BookChange]:
        return []

    async def resync_book(self, symbol: Symbol) -> None:
        """There is none."""


async def fails(source: WatchedSource) -> str:
    with pytest.raises(SourceUnavailable) as failed:
        await source.now()
    return str(failed.value)


async def test_after_many_failures_a_source_is_not_asked_for_a_while_and_the_last_problem_is_told() -> None:
    fake = FakeSource("no network")
    source = WatchedSource(fake, lambda: NOON)
    for _ in range(10):
        assert await fails(source) == "no network"
    assert source.circuit_open
    assert await fails(source) == "no network; requests are stopped for a few seconds"
    assert fake.asked == 10


async def test_a_source_that_answers_again_is_asked_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_source, "_OPEN_SECONDS", 0)
    fake = FakeSource("no network")
    source = WatchedSource(fake, lambda: NOON)
    for _ in range(10):
        await fails(source)
    fake.problem = ""
    assert await source.now() == NOON
    assert not source.circuit_open


async def test_failures_between_answers_do_not_stop_requests() -> None:
    fake = FakeSource()
    source = WatchedSource(fake, lambda: NOON)
    for _ in range(3):
        fake.problem = "busy"
        for _ in range(9):
            await fails(source)
        fake.problem = ""
        await source.now()
    assert fake.asked == 30


async def test_a_request_that_is_cancelled_is_no_failure_of_the_source() -> None:
    class Slow(FakeSource):
        async def now(self) -> datetime:
            await asyncio.Event().wait()
            raise AssertionError

    source = WatchedSource(Slow(), lambda: NOON)
    for _ in range(11):
        request = asyncio.create_task(source.now())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        request.cancel()
        await asyncio.wait([request])
    assert not source.circuit_open


async def test_trades_tell_the_latency_and_that_the_source_is_heard_of() -> None:
    fake = FakeSource(steps=[a_trade(1, 0)])
    source = WatchedSource(fake, lambda: at(3))
    assert (source.last_message_time, source.latency) == (None, None)
    await source.trades(SYMBOL)
    assert (source.last_message_time, source.latency) == (at(3), timedelta(0))


async def test_silence_is_counted_anew_from_connecting_anew() -> None:
    fake = FakeSource()
    source = WatchedSource(fake, lambda: NOON)
    await asyncio.sleep(0.01)
    silent = source.silent_for
    await source.reconnect()
    assert (fake.connections, source.silent_for < silent) == (2, True)


class Surprising(FakeSource):
    """Its answers are such as nobody foresaw."""

    async def now(self) -> datetime:
        raise OverflowError("date value out of range")

    async def trades(self, symbol: Symbol) -> list[Step]:
        raise KeyError("BTC/USDT")

    async def book(self, symbol: Symbol) -> list[BookChange]:
        raise TypeError("'NoneType' object is not iterable")

    async def reconnect(self) -> None:
        raise AttributeError("clients")


async def test_an_answer_that_nobody_foresaw_is_a_failure_of_the_source_like_others() -> None:
    source = WatchedSource(Surprising(), lambda: NOON)

    for answer in (source.now(), source.trades(SYMBOL), source.book(SYMBOL), source.reconnect()):
        with pytest.raises(SourceUnavailable, match="unforeseen"):
            await answer
