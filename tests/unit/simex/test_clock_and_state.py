"""The exchange's clock, and what is kept on disk."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from pydantic import ValidationError

from services.simex.clock import FastClock, RealClock
from services.simex.exchange import open_market, open_state
from services.simex.replay import ReplayError
from services.simex.settings import SimexSettings
from services.simex.state import StateFolder
from tests.unit.simex.builders import DAY_MS, MINUTE_MS, MONDAY_MS, HandClock, write_candles


def test_a_fast_clock_runs_as_many_times_as_fast() -> None:
    seconds = iter([100.0, 100.0, 101.5])

    clock = FastClock(MONDAY_MS, 300, lambda: next(seconds))

    assert [clock.now_ms(), clock.now_ms()] == [MONDAY_MS, MONDAY_MS + 450_000]


def test_the_real_clock_never_goes_back() -> None:
    times = iter([1000, 1005, 990, 1006])
    clock = RealClock(lambda: next(times))

    assert [clock.now_ms(), clock.now_ms(), clock.now_ms()] == [1005, 1005, 1006]


async def test_the_clock_is_written_down_at_once_and_at_the_end(tmp_path: Path) -> None:
    state, clock = StateFolder(tmp_path, "m"), HandClock(5)
    keeper = asyncio.create_task(state.keep_clock(clock))
    await asyncio.sleep(0)
    assert state.read("clock_ms") == 5

    clock.advance(10)
    keeper.cancel()
    await asyncio.gather(keeper, return_exceptions=True)

    assert StateFolder(tmp_path, "m").read("clock_ms") == 15


def test_markets_do_not_share_their_state(tmp_path: Path) -> None:
    StateFolder(tmp_path, "one").write("clock_ms", 5)

    assert StateFolder(tmp_path, "other").read("clock_ms") is None
    assert StateFolder(None, "one").read("clock_ms") is None


def test_an_invented_market_keeps_its_beginning_over_restarts(tmp_path: Path) -> None:
    settings = SimexSettings(state_dir=tmp_path, history_days=2)
    one = open_market(settings, open_state(settings), HandClock(MONDAY_MS + 1000)).listings["BTCUSDT"]

    later = HandClock(MONDAY_MS + 3 * DAY_MS)
    other = open_market(settings, open_state(settings), later).listings["BTCUSDT"]

    assert one.start_ms == other.start_ms == MONDAY_MS - 2 * DAY_MS
    newest = one.last_trades(1)
    assert other.trades_from(int(newest.ids[0]), 1).prices.tolist() == newest.prices.tolist()


def test_a_replay_goes_on_where_its_clock_stood(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + n * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, 5.0) for n in range(100)]
    write_candles(tmp_path / "x_A-B_1m.parquet", bars)
    settings = SimexSettings(state_dir=tmp_path / "state", replay_dir=tmp_path)
    state = open_state(settings)
    assert open_market(settings, state).clock.now_ms() // MINUTE_MS * MINUTE_MS == MONDAY_MS + 80 * MINUTE_MS

    state.write("clock_ms", MONDAY_MS + 90 * MINUTE_MS)

    assert open_market(settings, open_state(settings)).clock.now_ms() >= MONDAY_MS + 90 * MINUTE_MS


def test_a_replay_starts_within_its_files(tmp_path: Path) -> None:
    bars = [(MONDAY_MS + n * MINUTE_MS, 10.0, 12.0, 9.0, 11.0, 5.0) for n in range(100)]
    write_candles(tmp_path / "x_A-B_1m.parquet", bars)
    begin = datetime(2024, 6, 10, 2, 0, tzinfo=timezone(timedelta(hours=1)))
    settings = SimexSettings(replay_dir=tmp_path, replay_start=begin)

    assert abs(open_market(settings, open_state(settings)).clock.now_ms() - (MONDAY_MS + 60 * MINUTE_MS)) < 5000

    late = SimexSettings(replay_dir=tmp_path, replay_start=datetime(2025, 1, 1, tzinfo=UTC))
    with pytest.raises(ReplayError, match="choose a time from 2024-06-10T00:00:00"):
        open_market(late, open_state(late))


@pytest.mark.parametrize(
    "wrong", [{"speed": 0}, {"symbols": {"BTC/USDT": 1}}, {"port": 70000}, {"maker_fee": 1}, {"balances": {"USDT": -1}}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        SimexSettings.model_validate(wrong)


def test_secrets_are_not_shown() -> None:
    settings = SimexSettings.model_validate({"api_key": "the key", "api_secret": "the secret"})

    assert "the key" not in repr(settings)
    assert "the secret" not in repr(settings)
