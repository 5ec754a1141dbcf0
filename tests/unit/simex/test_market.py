"""What clients see of the market."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from services.simex.columns import Candles, Columns, Trades
from services.simex.intervals import INTERVALS_MS
from tests.unit.simex.builders import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    a_listing,
    a_replay,
    a_stochastic_market,
    write_candles,
)


def assert_same(one: Columns, other: Columns) -> None:
    for column in fields(one):
        assert getattr(one, column.name).tolist() == getattr(other, column.name).tolist(), column.name


@pytest.mark.parametrize("interval", INTERVALS_MS)
def test_klines_are_exactly_the_candles_of_the_trades(interval: str) -> None:
    market, clock = a_stochastic_market(days=1.1)
    listing, interval_ms = market.listings["BTCUSDT"], INTERVALS_MS[interval]
    clock.advance(-17_345)
    start_ms = max(MONDAY_MS, clock.now_ms() - 30 * interval_ms) // interval_ms * interval_ms

    klines = listing.klines(interval_ms, start_ms, 2**60)

    traded = Candles.of_trades(listing.trades(start_ms, 2**60)).grouped(interval_ms)
    assert_same(_traded(klines), traded)
    assert (np.diff(klines.open_ms) == interval_ms).all()


def _traded(klines: Candles) -> Candles:
    hit = klines.trades > 0
    return Candles(*(getattr(klines, column.name)[hit] for column in fields(klines)))


@pytest.mark.parametrize("minutes", [1, 3])
def test_klines_that_base_candles_do_not_fit_come_from_the_trades(tmp_path: Path, minutes: int) -> None:
    bars = [(MONDAY_MS + n * 5 * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, 500.0) for n in range(40)]
    listing = a_listing(write_candles(tmp_path / "x_A-B_5m.parquet", bars))

    klines = listing.klines(minutes * MINUTE_MS, 0, 2**60)

    traded = Candles.of_trades(listing.trades(0, 2**60)).grouped(minutes * MINUTE_MS)
    assert_same(_traded(klines), traded)


def test_another_instance_with_the_same_seed_gives_the_same_trades() -> None:
    start_ms, end_ms = MONDAY_MS + HOUR_MS, MONDAY_MS + 3 * HOUR_MS
    one, other = (a_stochastic_market()[0].listings["ETHUSDT"] for _ in range(2))
    one.klines(HOUR_MS, MONDAY_MS, 2**60)  # what was asked before makes no difference

    assert_same(one.trades(start_ms, end_ms), other.trades(start_ms, end_ms))


def test_another_seed_gives_other_trades() -> None:
    one, other = (a_stochastic_market(seed=seed)[0].listings["ETHUSDT"] for seed in (7, 8))

    assert one.last_trades(10).prices.tolist() != other.last_trades(10).prices.tolist()


def test_ids_are_dense_from_the_first_trade_on_and_any_id_is_found() -> None:
    market, _ = a_stochastic_market(days=0.2)
    listing = market.listings["BTCUSDT"]

    trades = listing.trades(0, 2**60)

    assert trades.ids.tolist() == list(range(1, len(trades) + 1))
    assert_same(listing.trades_from(5000, 50), trades[4999:5049])
    assert_same(listing.last_trades(7), trades[-7:])
    assert_same(listing.first_trades(MONDAY_MS + HOUR_MS, 2**60, 3), listing.trades(MONDAY_MS + HOUR_MS, 2**60)[:3])


def test_nothing_is_seen_before_it_has_happened() -> None:
    market, clock = a_stochastic_market()
    listing = market.listings["BTCUSDT"]
    clock.advance(12_345)
    before = listing.klines(MINUTE_MS, clock.now_ms() // MINUTE_MS * MINUTE_MS, 2**60)
    last = listing.last_trades(1)

    clock.advance(40_000)

    assert last.times_ms[0] <= clock.now_ms() - 40_000
    after = listing.klines(MINUTE_MS, int(before.open_ms[0]), 2**60)
    assert before.volume[0] < after.volume[0]
    assert listing.trades_from(int(last.ids[0]) + 1, 1).times_ms[0] > clock.now_ms() - 40_000


def test_an_interval_without_trades_is_flat_at_the_price_before_it(tmp_path: Path) -> None:
    bars = [(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 5.0), (MONDAY_MS + 4 * MINUTE_MS, 13.0, 13.0, 13.0, 13.0, 1.0)]
    bars.insert(1, (MONDAY_MS + MINUTE_MS, 11.0, 11.0, 11.0, 11.0, 0.0))  # recorded as flat: the same as absent
    listing = a_listing(write_candles(tmp_path / "x_A-B_1m.parquet", bars))

    klines = listing.klines(MINUTE_MS, MONDAY_MS + MINUTE_MS, MONDAY_MS + 5 * MINUTE_MS)

    assert klines.close.tolist() == [11, 11, 11, 13]
    assert klines.open.tolist() == klines.high.tolist() == klines.low.tolist() == [11, 11, 11, 13]
    assert klines.volume.tolist() == [0, 0, 0, 1]
    assert klines.first_id.tolist()[:3] == [-1, -1, -1]


def test_quote_volumes_beyond_64_bits_are_exact(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + n * DAY_MS, 20000.11, 20001.0, 19000.0, 20000.5, 165542.81103878) for n in range(2)]
    listing = a_listing(write_candles(tmp_path / "x_A-B_1d.parquet", bars))

    klines = listing.klines(DAY_MS, 0, 2**60)

    trades = listing.trades(0, MONDAY_MS + DAY_MS)
    exact = sum(p * q for p, q in zip(trades.prices.tolist(), trades.quantities.tolist(), strict=True))
    assert int(klines.quote_volume[0]) == exact > 2**63


def test_a_single_amount_beyond_64_bits_is_exact() -> None:
    one = np.array([10**10], np.int64)

    candle = Candles.of_trades(Trades(one, one, one, one, np.array([True])))

    assert candle.quote_volume.tolist() == candle.taker_quote_volume.tolist() == [10**20]


def test_a_day_of_statistics_is_the_sum_of_its_trades() -> None:
    market, clock = a_stochastic_market(days=1.4)
    clock.advance(4_321)
    listing = market.listings["BTCUSDT"]

    day = listing.day()

    trades = listing.trades(day.start_ms, day.end_ms + 1)
    assert day.end_ms == clock.now_ms()
    assert int(day.candle.volume[0]) == int(trades.quantities.sum())
    assert int(day.candle.quote_volume[0]) == int((trades.prices * trades.quantities).sum())
    assert int(day.candle.trades[0]) == len(trades)
    assert int(day.candle.last_id[0]) == int(trades.ids[-1])


def test_the_market_closes_when_the_files_end_and_its_prices_stay(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + n * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, 5.0) for n in range(3)]
    path = write_candles(tmp_path / "x_A-B_1m.parquet", bars)
    market, clock = a_replay(path, MONDAY_MS + 2 * MINUTE_MS)
    listing = market.listings["AB"]
    assert listing.is_open()

    clock.advance(DAY_MS)

    assert not listing.is_open()
    assert listing.last_trades(1).prices.tolist() == [11]
    assert len(listing.klines(MINUTE_MS, 0, 2**60)) == 3
    assert len(listing.day().candle) == 1


def test_before_the_first_trade_there_is_nothing(tmp_path: Path) -> None:
    path = write_candles(tmp_path / "x_A-B_1m.parquet", [(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 5.0)])
    listing = a_listing(path, MONDAY_MS - 1)

    assert_same(listing.last_trades(5), Trades.none())
    assert len(listing.last_klines(MINUTE_MS, 5)) == 0
    assert len(listing.day().candle) == 0


def test_invented_returns_look_like_those_of_a_market() -> None:
    market, _ = a_stochastic_market(days=20)
    closes = [market.listings[symbol].last_klines(MINUTE_MS, 28_000).close for symbol in ("BTCUSDT", "ETHUSDT")]

    one, other = (np.diff(np.log(column)) for column in closes)

    assert 0.0004 < one.std() < 0.0012
    assert 0.4 < np.corrcoef(one, other)[0, 1] < 0.9
    assert abs(np.corrcoef(one[1:], one[:-1])[0, 1]) < 0.1  # no giveaway
    assert np.corrcoef(abs(one[1:]), abs(one[:-1]))[0, 1] > 0.1  # volatility clusters
