"""Opens the market that the settings describe."""

from collections.abc import Sequence
from datetime import UTC, datetime

from services.simex.clock import Clock, FastClock, RealClock, wall_ms
from services.simex.market import Market
from services.simex.replay import ReplayError, read_replay, replay_files
from services.simex.settings import SimexSettings
from services.simex.state import StateFolder
from services.simex.stochastic import StochasticMarket
from services.simex.tape import DAY_MS, CandleTape, Tape

_HISTORY_PERCENT = 80
"""How much of a replay's span is history by default."""
_MINUTE_MS = 60_000


def open_state(settings: SimexSettings) -> StateFolder:
    """The folder of the market that the settings describe; raises ReplayError when its files are missing."""
    if settings.replay_dir is None:
        names = ",".join(f"{name}={price}" for name, price in sorted(settings.symbols.items()))
        return StateFolder(settings.state_dir, f"stochastic {settings.seed} {names}")
    files = ",".join(f"{file.name}={file.stat().st_size}" for file in replay_files(settings.replay_dir))
    return StateFolder(settings.state_dir, f"replay {settings.seed} {settings.replay_start} {files}")


def open_market(settings: SimexSettings, state: StateFolder, clock: Clock | None = None) -> Market:
    """The market, under ``clock`` or under its own, which goes on from where ``state`` says it stood.

    Raises ReplayError when the files cannot be replayed.
    """
    if settings.replay_dir is None:
        epoch_ms = state.read("epoch_ms")
        if epoch_ms is None:
            now_ms = wall_ms() if clock is None else clock.now_ms()
            epoch_ms = now_ms // DAY_MS * DAY_MS - settings.history_days * DAY_MS
            state.write("epoch_ms", epoch_ms)
        made = StochasticMarket(settings.symbols, settings.seed, epoch_ms)
        tapes: list[Tape] = [
            CandleTape(made.instrument(name), source, settings.seed) for name, source in made.sources.items()
        ]
        if clock is None and settings.speed == 1:
            clock = RealClock()
        start_ms = wall_ms()
    else:
        tapes = read_replay(settings.replay_dir, settings.seed)
        start_ms = _replay_start(settings, tapes)
    if clock is None:
        clock = FastClock(state.read("clock_ms") or start_ms, settings.speed)
    return Market(tapes, clock)


def _replay_start(settings: SimexSettings, tapes: Sequence[Tape]) -> int:
    first_ms = min(tape.start_ms for tape in tapes)
    last_ms = max(tape.end_ms or tape.start_ms for tape in tapes)
    if settings.replay_start is None:
        return (first_ms + (last_ms - first_ms) * _HISTORY_PERCENT // 100) // _MINUTE_MS * _MINUTE_MS
    start_ms = int(settings.replay_start.timestamp() * 1000)
    if not first_ms <= start_ms < last_ms:
        raise ReplayError(
            f"SIMEX_REPLAY_START {settings.replay_start.isoformat()} is outside the span of the files in "
            f"{settings.replay_dir}: choose a time from {_iso(first_ms)} up to {_iso(last_ms)}"
        )
    return start_ms


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
