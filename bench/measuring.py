"""What the benchmarks of calls share."""

import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

Call = Callable[[], Awaitable[Any]]

SYMBOL = "BTC-USDT@simex"
UNLIMITED = "10000"
"""LEVIMESH_RATE_LIMIT_SCALE: the limits are on, and so high that no call of a benchmark is refused."""


async def milliseconds(call: Call) -> float:
    """How long ``call`` takes."""
    started = time.perf_counter()
    await call()
    return (time.perf_counter() - started) * 1000


def percentiles(took: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    cuts = statistics.quantiles(took, n=100)
    return cuts[49], cuts[98]
