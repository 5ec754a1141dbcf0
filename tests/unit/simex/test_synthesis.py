"""Trades made of candles are those candles again."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simex.columns import Candles
from services.simex.synthesis import Bars, make_prints, make_trades, split
from services.simex.tape import HOUR_MS
from tests.unit.simex.builders import MINUTE_MS, base_bars


@st.composite
def _rows(draw: st.DrawFn) -> tuple[int, int, int, int, int]:
    low = draw(st.integers(1, 10**7))
    high = low + draw(st.integers(0, 50) | st.integers(0, 10**5))
    inside = st.integers(low, high)
    return draw(inside), high, low, draw(inside), draw(st.integers(1, 60) | st.integers(1, 10**10))


@st.composite
def _bars(draw: st.DrawFn) -> tuple[Bars, int]:
    base_ms = draw(st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, HOUR_MS]))
    rows = draw(st.lists(_rows(), min_size=1, max_size=8))
    bars = base_bars(rows, base_ms, prints=draw(st.integers(1, 80)), trades=draw(st.integers(1, 300)))
    return bars, base_ms


@given(_bars(), st.integers(0, 10**6))
@settings(max_examples=300, deadline=None)
def test_the_candles_of_the_trades_are_the_candles_they_were_made_of(made: tuple[Bars, int], seed: int) -> None:
    bars, base_ms = made
    prints = make_prints(bars, base_ms, np.random.default_rng(seed))
    trades = make_trades(prints, 1, base_ms, np.random.default_rng(seed + 1))

    candles = Candles.of_trades(trades).grouped(base_ms)

    for name in ("open_ms", "open", "high", "low", "close", "volume", "trades"):
        np.testing.assert_array_equal(getattr(candles, name), getattr(bars, name), err_msg=name)
    np.testing.assert_array_equal(candles.first_id, bars.position + 1)


@given(_bars(), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_prints_add_up_to_their_trades_in_every_sum(made: tuple[Bars, int], seed: int) -> None:
    bars, base_ms = made
    prints = make_prints(bars, base_ms, np.random.default_rng(seed))
    trades = make_trades(prints, 1, base_ms, np.random.default_rng(seed + 1))
    from_trades = Candles.of_trades(trades).grouped(base_ms)

    whole = replace(prints, makers=np.ones(len(prints), np.int64))
    from_prints = Candles.of_trades(make_trades(whole, 1, base_ms, np.random.default_rng(0))).grouped(base_ms)

    for name in ("volume", "quote_volume", "taker_volume", "taker_quote_volume"):
        assert getattr(from_prints, name).tolist() == getattr(from_trades, name).tolist(), name


@given(_bars(), st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_trades_are_in_order_of_time_and_strictly_inside_their_bars(made: tuple[Bars, int], seed: int) -> None:
    bars, base_ms = made
    prints = make_prints(bars, base_ms, np.random.default_rng(seed))
    trades = make_trades(prints, 1, base_ms, np.random.default_rng(seed + 1))

    assert (np.diff(trades.times_ms) >= 0).all()
    assert (trades.quantities > 0).all()
    opened = np.repeat(bars.open_ms, bars.trades)
    assert ((trades.times_ms > opened) & (trades.times_ms < opened + base_ms)).all()


def test_every_minute_has_a_trade_where_there_are_prints_enough() -> None:
    bars = base_bars([(100, 120, 90, 110, 10_000)] * 50, 5 * MINUTE_MS, prints=20, trades=20)

    prints = make_prints(bars, 5 * MINUTE_MS, np.random.default_rng(1))

    assert len(np.unique(prints.times_ms // MINUTE_MS)) == 250


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(1, 20)), min_size=1, max_size=20), st.integers(0, 1000))
def test_a_split_adds_up_exactly_and_has_no_negative_part(parts: list[tuple[int, int]], seed: int) -> None:
    totals, counts = (np.array(column, np.int64) for column in zip(*parts, strict=True))

    shares = split(totals, counts, np.random.default_rng(seed).lognormal(0, 3, int(counts.sum())))

    assert (shares >= 0).all()
    assert np.add.reduceat(shares, np.cumsum(counts) - counts).tolist() == totals.tolist()
