"""Work that goes on beside a process."""

import asyncio
from collections.abc import Awaitable, Callable

TIDY_EVERY = 60.0


async def repeat(work: Callable[[], Awaitable[object]], every: float) -> None:
    """Do ``work`` every so many seconds, for ever."""
    while True:
        await work()
        await asyncio.sleep(every)
