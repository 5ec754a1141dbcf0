"""Trades give the same candles in whatever order they come, and whatever happens meanwhile."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from services.marketdata.domain.gaps import GapState
from services.marketdata.domain.market import Candle, Interval, Trade
from tests.unit.marketdata.builders import a_trade, at
from tests.unit.marketdata.keeping import Kept, MemorySource, summed_up


@st.composite
def histories(draw: st.DrawFn, *, numbered: bool | None = None) -> list[Trade]:
    """Trades over up to some hours, with consecutive ids or ids that tell nothing."""
    if numbered is None:
        numbered = draw(st.booleans())
    pauses = draw(st.lists(st.sampled_from([0.0, 0.2, 0.7, 3.0, 31.0, 130.0, 700.0]), min_size=3, max_size=25))
    trades, seconds = [], 0.5
    for index, pause in enumerate([0.0, *pauses]):
        seconds += pause
        name = str(index + 1) if numbered else f"{draw(st.integers(0, 9))}x{index:02}"
        price, quantity = draw(st.integers(1, 9)), draw(st.decimals("0.00001", "5", places=5))
        trades.append(a_trade(name, seconds, str(price), str(quantity)))
    return trades


def stored(kept: Kept) -> dict[Interval, list[Candle]]:
    """The candles that are stored, by time."""
    return {interval: [candle for _, candle in sorted(rows.items())] for interval, rows in kept.candles.stored.items()}


def batches(trades: Sequence[Trade], random: Random, disorder: float) -> list[list[Trade]]:
    """The trades and some of them twice, out of order, in batches; the first trade comes first."""
    first, *rest = trades
    places = {trade.trade_id: index + random.uniform(0, disorder) for index, trade in enumerate(trades)}
    doubled = rest + random.choices(trades, k=len(trades) // 3)
    arrived = [first, *sorted(doubled, key=lambda trade: places[trade.trade_id])]
    cuts = sorted(random.sample(range(1, len(arrived)), min(4, len(arrived) - 1)))
    return [arrived[start:end] for start, end in zip([0, *cuts], [*cuts, len(arrived)], strict=True)]


# Shrinking takes minutes here, and tells little: an example is a few dozen trades.
@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(histories(), st.randoms(use_true_random=False), st.sampled_from([0.0, 3.0, 40.0]), st.booleans())
def test_any_order_number_and_grouping_of_trades_gives_the_candles_of_the_sorted_ones(
    trades: list[Trade], random: Random, disorder: float, clock_runs: bool
) -> None:
    async def run() -> Kept:
        kept = Kept(MemorySource(trades))
        async with kept.keeper() as working:
            await working.tell_time(at(0))
            for batch in batches(trades, random, disorder):
                await working.receive(batch)
                if clock_runs:
                    await working.tell_time(max(trade.trade_time for trade in kept.trades.line))
            await working.tell_time(trades[-1].trade_time + timedelta(milliseconds=1))
            await working.repair()
            await working.tell_time(trades[-1].trade_time + timedelta(milliseconds=2))
        return kept

    kept = asyncio.run(run())
    assert {gap.state for gap in kept.gaps.gaps.values()} <= {GapState.REPAIRED}
    expected = summed_up(trades)
    for interval, candles in stored(kept).items():
        over = [candle for candle in candles if candle.close_time <= trades[-1].trade_time]
        assert over == expected[interval], interval


async def receive_until_a_crash(kept: Kept, random: Random, *rest: Sequence[Trade]) -> None:
    """Batches are received, or lost, until the keeper is killed."""
    async with kept.keeper() as working:
        await working.tell_time(at(0))
        for number, batch in enumerate(rest):
            fate = random.choice(["received", "received", "lost", "told late"])
            if fate == "lost" and number > 0:
                await working.lose()
            else:
                await working.receive(batch)
            if fate != "told late":
                await working.tell_time(batch[-1].trade_time)
        if random.random() < 0.5:
            await working.repair()
        if random.random() < 0.5:
            await working.keeper.close()


@settings(max_examples=60, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(histories(), st.randoms(use_true_random=False))
def test_what_was_lost_and_whatever_a_crash_has_forgotten_is_fetched_and_the_candles_are_set_right(
    trades: list[Trade], random: Random
) -> None:
    name = str(len(trades) + 1) if trades[0].number else "last"
    last = a_trade(name, (trades[-1].trade_time - at(0)).total_seconds() + 1000)

    async def run() -> Kept:
        kept = Kept(MemorySource([*trades, last]))
        rest = batches(trades, random, 0.0)
        while rest:
            count = random.randint(1, len(rest))
            await receive_until_a_crash(kept, random, *rest[:count])
            del rest[:count]
        async with kept.keeper() as working:
            await working.receive([last])
            await working.tell_time(last.trade_time + timedelta(seconds=1))
            for _ in range(2):
                await working.repair()
                await working.tell_time(last.trade_time + timedelta(seconds=1))
        return kept

    kept = asyncio.run(run())
    assert {gap.state for gap in kept.gaps.gaps.values()} <= {GapState.REPAIRED}
    assert {trade.trade_id for trade in kept.trades.line} == {trade.trade_id for trade in [*trades, last]}
    expected = summed_up([*trades, last])
    for interval, candles in stored(kept).items():
        over = [candle for candle in candles if candle.close_time <= last.trade_time]
        assert over == expected[interval], interval


def test_numbers_with_holes_everywhere_are_no_gaps_for_long() -> None:
    trades = [a_trade(7 * number, number) for number in range(1, 200)]

    async def run() -> Kept:
        kept = Kept(MemorySource(trades))
        async with kept.keeper() as working:
            for trade in trades:
                await working.receive([trade])
                await working.tell_time(trade.trade_time + timedelta(milliseconds=1))
            await working.repair()
        return kept

    kept = asyncio.run(run())
    assert 0 < len(kept.gaps.gaps) <= 12
    assert {gap.state for gap in kept.gaps.gaps.values()} == {GapState.NOT_AT_SOURCE}
    newest = stored(kept)[Interval.ONE_SECOND]
    assert len(newest) > 180


def test_a_trade_that_the_source_has_not_stays_a_gap_and_its_interval_is_not_made_up() -> None:
    trades = [a_trade(number, 0.4 * number) for number in range(1, 50)]
    without = [trade for trade in trades if trade.number != 20]

    async def run() -> Kept:
        kept = Kept(MemorySource(without))
        async with kept.keeper() as working:
            await working.receive([trade for trade in trades if trade.number not in {20, 21, 30}])
            await working.tell_time(trades[-1].trade_time + timedelta(seconds=1))
            await working.repair()
            await working.tell_time(trades[-1].trade_time + timedelta(seconds=1))
        return kept

    kept = asyncio.run(run())
    assert {(gap.first_trade_id, gap.last_trade_id, gap.state) for gap in kept.gaps.gaps.values()} == {
        ("20", "21", GapState.REPAIRED),
        ("20", "20", GapState.NOT_AT_SOURCE),
        ("30", "30", GapState.REPAIRED),
    }
    opens = {(candle.open_time - at(0)).total_seconds() for candle in stored(kept)[Interval.ONE_SECOND]}
    # Trades 19 and 21 happened at 7.6 and at 8.4 seconds.
    assert opens == set(range(1, 19)) - {7, 8}


async def test_others_have_their_turn_while_many_trades_are_followed() -> None:
    trades = [a_trade(number, number / 1_000) for number in range(1, 5_001)]
    kept = Kept(MemorySource(trades))
    async with kept.keeper() as working:
        await working.rest()
        working.keeper.received(trades)
        working.keeper.stored((await kept.trades.add(trades, None)).new)
        turns = 0
        while working.keeper.coverage.until != trades[-1].trade_time:
            turns += 1
            await asyncio.sleep(0)
    assert turns > 10


async def test_a_gap_that_was_repaired_before_a_crash_is_not_open_again_behind_it() -> None:
    trades = [a_trade(f"{number}x", second) for number, second in enumerate((0.5, 6.5, 7.2, 38.2, 69.2))]
    kept = Kept(MemorySource(trades))
    async with kept.keeper() as working:
        await working.receive(trades[:2])
        await working.tell_time(at(6.5))
        await working.keeper.close()
    async with kept.keeper() as working:
        await working.receive(trades[2:4])
        await working.repair()
    for _ in range(2):
        async with kept.keeper() as working:
            await working.tell_time(at(38.2))
            assert working.keeper.coverage.open_gaps == []
            await working.keeper.close()
    async with kept.keeper() as working:
        await working.receive(trades[4:])
        await working.repair()
        await working.tell_time(at(69.3))

    times = [time for time in kept.candles.stored[Interval.FIVE_SECONDS] if time < at(38)]
    assert times == [at(seconds) for seconds in range(5, 36, 5)]


async def test_a_late_trade_sets_the_price_of_however_many_quiet_candles_follow_it() -> None:
    first, late, last = a_trade("ax", 0.5, "4"), a_trade("bx", 1.7, "9"), a_trade("cx", 2500.5, "5")
    kept = Kept(MemorySource([first, late, last]))
    async with kept.keeper() as working:
        await working.tell_time(at(0))
        await working.receive([first])
        await working.receive([last])
        await working.tell_time(at(2502))
        await working.receive([late])
        await working.tell_time(at(2503))

    seconds = kept.candles.stored[Interval.ONE_SECOND]
    assert {seconds[at(second)].close for second in range(2, 2500)} == {late.price}
