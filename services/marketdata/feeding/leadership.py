"""Decides whether this replica gathers the data of a source, and stops it when it may not any more."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.leases import Lease, LeaseLost, Leases

_log = logging.getLogger(__name__)

_RELEASE_SECONDS = 1.0


@dataclass(frozen=True)
class LeaseTimes:
    """How often the lease is looked after, in seconds."""

    try_every: float = 1.0
    """How often a replica that does not have it asks for it."""
    renew_every: float = 2.0
    margin: float = 1.0
    """How long before another one can have it who could not renew it has stopped."""


class Leadership:
    """Leads a source while this replica has its lease. ``run`` tries for it for ever, and releases it on its stop.

    Whoever cannot renew the lease stops by the monotonic clock of this machine, which no change of the time of day
    moves, counted from before the last renewal was asked for: so before the database lets another replica have it.
    """

    def __init__(
        self,
        source: str,
        replica: str,
        leases: Leases,
        lead: Callable[[Lease], Awaitable[None]],
        times: LeaseTimes = LeaseTimes(),
    ) -> None:
        self._source = source
        self._replica = replica
        self._leases = leases
        self._lead = lead
        self._times = times

    async def run(self) -> None:
        """Lead whenever nobody else does, for ever."""
        patience = Patience()
        while True:
            asked = _clock()
            lease = await self._acquire()
            if lease is None:
                await asyncio.sleep(self._times.try_every)
                continue
            _log.info("leading", extra={"source": self._source, "token": lease.token})
            # A task of its own: a group that fails while it is cancelled loses the cancellation on Python 3.11.
            holding = asyncio.create_task(self._hold(lease, asked))
            try:
                await asyncio.wait([holding])
            finally:
                holding.cancel()
                await asyncio.wait([holding])
                await self._release(lease)
            lasted = _clock() - asked
            if lasted > self._leases.valid_seconds:
                patience.reset()
            await asyncio.sleep(patience.lost())

    async def _acquire(self) -> Lease | None:
        try:
            async with asyncio.timeout(self._leases.valid_seconds / 2):
                return await self._leases.acquire(self._source, self._replica)
        except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
            _log.warning("the lease cannot be asked for", extra={"source": self._source, "problem": repr(error)})
            return None

    async def _hold(self, lease: Lease, asked: float) -> None:
        """Lead until the lease is lost, or what leads fails."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._keep(lease, asked))
                tasks.create_task(self._work(lease))
        except* LeaseLost as lost:
            _log.warning("not leading any more", extra={"source": self._source, "problem": str(lost.exceptions[0])})
        except* Exception:  # noqa: BLE001 - whatever fails is logged, and begun anew
            _log.exception("leading failed", extra={"source": self._source})

    async def _work(self, lease: Lease) -> None:
        await self._lead(lease)

    async def _keep(self, lease: Lease, asked: float) -> None:
        """Renew the lease for ever. Raises LeaseLost when another may soon have it."""
        ends = asked + self._leases.valid_seconds - self._times.margin
        pause = self._times.renew_every
        while True:
            await asyncio.sleep(min(pause, max(0.0, ends - _clock())))
            asked, pause = _clock(), self._times.renew_every
            try:
                async with asyncio.timeout_at(ends):
                    await self._leases.renew(lease)
            except LeaseLost:
                raise
            except Exception as error:
                if _clock() >= ends:
                    raise LeaseLost(f"the lease of {self._source} cannot be renewed: {error!r}") from error
                pause = self._times.renew_every / 10
            else:
                ends = asked + self._leases.valid_seconds - self._times.margin

    async def _release(self, lease: Lease) -> None:
        with suppress(Exception):
            async with asyncio.timeout(_RELEASE_SECONDS):
                await self._leases.release(lease)


def _clock() -> float:
    return asyncio.get_running_loop().time()
