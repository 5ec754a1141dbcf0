"""Replaying recorded candles and trades."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simex.columns import Candles
from services.simex.replay import ReplayError, read_replay, replay_files
from tests.unit.simex.builders import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    MONDAY_MS,
    Bar,
    a_listing,
    a_replay,
    write_candles,
    write_trades,
)

FIVE_MS = 5 * MINUTE_MS
VALUES = ("open", "high", "low", "close", "volume")
A_BAR: Bar = (MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 5.0)


@st.composite
def _bar_values(draw: st.DrawFn) -> tuple[float, float, float, float, float]:
    low = draw(st.integers(1, 10**7))
    high = low + draw(st.integers(0, 5000))
    inside = st.integers(low, high)
    volume = draw(st.integers(1, 10**9))
    return draw(inside) / 100, high / 100, low / 100, draw(inside) / 100, volume / 100_000


@given(st.lists(_bar_values(), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_klines_and_the_trades_are_exactly_the_candles_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[float, float, float, float, float]]
) -> None:
    bars = [(MONDAY_MS + index * FIVE_MS, *row) for index, row in enumerate(rows)]
    listing = a_listing(write_candles(tmp_path_factory.mktemp("f") / "x_A-B_5m.parquet", bars))
    price, quantity = listing.instrument.price, listing.instrument.quantity

    for candles in (
        listing.klines(FIVE_MS, 0, 2**60),
        Candles.of_trades(listing.trades(0, 2**60)).grouped(FIVE_MS),
    ):
        columns = [candles.open_ms.tolist()]
        columns += [
            [float(price(ticks)) for ticks in column.tolist()]
            for column in (candles.open, candles.high, candles.low, candles.close)
        ]
        columns += [[float(quantity(steps)) for steps in candles.volume.tolist()]]
        assert list(zip(*columns, strict=True)) == bars


def test_the_finest_interval_of_a_folder_is_replayed(tmp_path: Path) -> None:
    for name in ("a_A-B_1h", "a_A-B_5m", "b_A-B_5m", "a_C-D_5m", "a_E-F_1d", "us_SPY_1d"):
        write_candles(tmp_path / f"{name}.parquet", [(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 5.0)])
    write_trades(tmp_path / "a_G-H_trades.parquet", [(MONDAY_MS, 1, 10.0, 1.0, 1)])

    assert [path.name for path in replay_files(tmp_path)] == ["a_A-B_5m.parquet", "a_C-D_5m.parquet"]


def test_a_bar_of_5_minutes_becomes_about_thirty_trades(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + index * FIVE_MS, 10.0, 12.0, 9.0, 11.0, 5000.25) for index in range(50)]

    klines = a_listing(write_candles(tmp_path / "x_A-B_5m.parquet", bars)).klines(FIVE_MS, 0, 2**60)

    assert klines.trades.min() >= 20
    assert klines.trades.max() <= 40


def test_too_small_a_volume_for_the_prices_gets_smaller_steps(tmp_path: Path) -> None:
    listing = a_listing(write_candles(tmp_path / "x_A-B_5m.parquet", [(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 2.0)]))

    klines = listing.klines(FIVE_MS, 0, 2**60)

    assert (klines.high.tolist(), klines.low.tolist()) == ([12], [9])
    assert str(listing.instrument.quantity(int(klines.volume[0]))) == "2.0"


def test_recorded_trades_keep_their_ids_times_and_amounts(tmp_path: Path) -> None:
    rows = [
        (MONDAY_MS + 5, 100, 10.25, 1.5, 1),
        (MONDAY_MS + 5, 103, 10.2, 0.125, -1),
        (MONDAY_MS + 90_000, 104, 10.3, 2.0, 1),
    ]
    write_trades(tmp_path / "x_A-B_20240610_trades.parquet", rows)
    market, clock = a_replay(tmp_path, MONDAY_MS + 80_000)
    listing = market.listings["AB"]

    assert listing.last_trades(10).ids.tolist() == [100, 103]
    assert listing.trades_from(101, 10).ids.tolist() == [103]
    clock.advance(DAY_MS)

    trades = listing.last_trades(10)
    instrument = listing.instrument
    assert [
        (time, id_, float(instrument.price(price)), float(instrument.quantity(quantity)), 1 if buys else -1)
        for id_, time, price, quantity, buys in trades.rows()
    ] == rows
    assert listing.klines(MINUTE_MS, 0, 2**60).volume.tolist() == [1625, 2000]


@pytest.mark.parametrize(
    ("bars", "complaint"),
    [
        ([A_BAR, A_BAR], "ts must rise"),
        ([(MONDAY_MS + 1, 10.0, 12.0, 9.0, 11.0, 5.0)], "whole multiples of 300000"),
        ([(MONDAY_MS, 10.0, 12.0, 9.0, 13.0, 5.0)], f"the bar with ts {MONDAY_MS} has impossible prices"),
        ([(MONDAY_MS, 10.0, 12.0, 0.0, 11.0, 5.0)], "has impossible prices"),
        ([(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, 0.0)], "moves without volume"),
        ([(MONDAY_MS, 10.0, 12.0, 9.0, 11.0, -1.0)], "finite numbers that are not negative"),
        ([(MONDAY_MS, 10.0, 12.0, 9.0, 1e-13 + 10, 1.0)], "round them"),
        ([], "has no rows"),
    ],
)
def test_a_file_that_cannot_be_replayed_is_named_with_what_is_wrong(
    tmp_path: Path, bars: list[Bar], complaint: str
) -> None:
    path = tmp_path / "x_A-B_5m.parquet"
    write_candles(path, bars or [A_BAR])
    if not bars:
        pq.write_table(pq.read_table(path).slice(0, 0), path)

    with pytest.raises(ReplayError, match=complaint) as error:
        read_replay(tmp_path, 7)

    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        (pa.table({"ts": [MONDAY_MS], "open": [1.0]}), "lacks the columns high, low, close, volume"),
        (pa.table({"ts": [1.5]} | {key: [1.0] for key in VALUES}), "ts must hold integers"),
        (pa.table({"ts": [0]} | {key: ["1"] for key in VALUES}), "must hold numbers"),
    ],
)
def test_wrong_columns_are_named(tmp_path: Path, table: pa.Table, complaint: str) -> None:
    pq.write_table(table, tmp_path / "x_A-B_5m.parquet")

    with pytest.raises(ReplayError, match=complaint):
        read_replay(tmp_path, 7)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([(2, 1, 1.0, 1.0, 1), (1, 2, 1.0, 1.0, 1)], "sort the trades"),
        ([(1, 2, 1.0, 1.0, 1), (1, 2, 1.0, 1.0, 1)], "no id may repeat"),
        ([(1, 2, 1.0, 1.0, 0)], "side 1"),
        ([(1, 2, 1.0, 0.0, 1)], "must be positive"),
    ],
)
def test_wrong_trades_are_refused(
    tmp_path: Path, rows: list[tuple[int, int, float, float, int]], complaint: str
) -> None:
    write_trades(tmp_path / "x_A-B_trades.parquet", rows)

    with pytest.raises(ReplayError, match=complaint):
        read_replay(tmp_path, 7)


def test_a_missing_or_empty_folder_or_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match="nowhere does not exist: set SIMEX_REPLAY_DIR"):
        replay_files(tmp_path / "nowhere")
    with pytest.raises(ReplayError, match="holds no candles or trades"):
        replay_files(tmp_path)
    (tmp_path / "x_A-B_5m.parquet").write_bytes(b"not parquet")
    with pytest.raises(ReplayError, match=r"x_A-B_5m\.parquet cannot be read as Parquet"):
        read_replay(tmp_path, 7)


def test_a_gap_in_a_file_is_a_time_without_trades(tmp_path: Path) -> None:
    bars = [A_BAR, (MONDAY_MS + 50 * HOUR_MS, 20.0, 22.0, 19.0, 21.0, 5.0)]

    listing = a_listing(write_candles(tmp_path / "x_A-B_1h.parquet", bars))

    assert listing.count(MONDAY_MS + 2 * HOUR_MS) == listing.count(MONDAY_MS + 50 * HOUR_MS)
    assert listing.klines(HOUR_MS, 0, 2**60).trades.tolist()[1:50] == [0] * 49
    assert len(listing.trades(0, 2**60)) == int(listing.klines(HOUR_MS, 0, 2**60).trades.sum())
