"""What everybody does who leads a source."""

import asyncio
import logging
from collections.abc import Callable

from services.marketdata.domain.source_status import SourceState, SourceStatus
from services.marketdata.ports.leases import Lease, LeaseLost
from services.marketdata.ports.source_states import Led, SourceStates
from services.runtime.health import Part

_log = logging.getLogger(__name__)

_TELL_SECONDS = 1.0


async def tell_status(states: SourceStates, lease: Lease, status: Callable[[], SourceStatus]) -> None:
    """Tell all replicas how the source is, for ever. Raises LeaseLost."""
    while True:
        try:
            await states.put(status(), lease)
        except LeaseLost:
            raise
        except Exception as error:  # noqa: BLE001 - it is told again a second later
            _log.warning("status not told", extra={"source": lease.source, "problem": repr(error)})
        await asyncio.sleep(_TELL_SECONDS)


async def follow_statuses(states: SourceStates, parts: dict[str, tuple[Part, Part]]) -> None:
    """Show, for ever, how the sources are as parts of the health: by name, the feed and the history."""
    while True:
        try:
            led = await states.all()
        except Exception as error:  # noqa: BLE001 - whatever fails means that it is not known
            for feed, history in parts.values():
                feed.failed(f"it is not known how it is: {type(error).__name__}")
                history.failed(f"it is not known how it is: {type(error).__name__}")
        else:
            for name, (feed, history) in parts.items():
                _show(led.get(name), feed, history)
        await asyncio.sleep(_TELL_SECONDS)


def _show(led: Led | None, feed: Part, history: Part) -> None:
    if led is None or not led.leader or led.status is None:
        feed.failed("no replica gathers its data")
    elif led.status.problem or led.status.state not in (SourceState.LIVE, SourceState.FINISHED):
        feed.failed(led.status.problem or led.status.state.value)
    else:
        feed.ok()
    if led is not None and led.status is not None and led.status.has_history:
        history.ok()
    else:
        history.failed("history is being fetched; ListBackfills tells how far")
