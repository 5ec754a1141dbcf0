"""The time that is left of the call being served, so that the calls it makes get no more.

grpc.aio does not hand deadlines on by itself.
"""

import asyncio
from contextvars import ContextVar

_expires: ContextVar[float | None] = ContextVar("expires", default=None)


def expire_at(moment: float | None) -> None:
    """The call being served ends at ``moment`` of the event loop's clock; None for a stream without an end."""
    _expires.set(moment)


def seconds_left() -> float | None:
    """What is left of the call being served, at least 0; None outside of one, and in streams."""
    moment = _expires.get()
    return None if moment is None else max(0.0, moment - asyncio.get_running_loop().time())
