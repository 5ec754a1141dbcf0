"""Who leads stops before another can have the lease, and tries again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from services.marketdata.feeding.leadership import Leadership, LeaseTimes
from services.marketdata.ports.leases import Lease, LeaseLost

TIMES = LeaseTimes(try_every=0.01, renew_every=0.05, margin=0.1)


@dataclass
class FakeLeases:
    """Implements Leases in memory; ``problem`` is raised instead of a renewal."""

    valid_seconds: float = 0.4
    holder: str = ""
    token: int = 0
    problem: Exception | None = None
    hangs: bool = False
    renewed_at: float = 0.0
    released: list[int] = field(default_factory=list)

    async def acquire(self, source: str, holder: str) -> Lease | None:
        if self.holder:
            return None
        self.holder, self.token = holder, self.token + 1
        self.renewed_at = asyncio.get_running_loop().time()
        return Lease(source, holder, self.token)

    async def renew(self, lease: Lease) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.problem is not None:
            raise self.problem
        if self.token != lease.token:
            raise LeaseLost("another replica has it")
        self.renewed_at = asyncio.get_running_loop().time()

    async def release(self, lease: Lease) -> None:
        self.released.append(lease.token)
        if self.token == lease.token:
            self.holder = ""


@dataclass
class Leading:
    """What is done by whoever leads; ``work`` may end it."""

    tokens: list[int] = field(default_factory=list)
    stopped_at: list[float] = field(default_factory=list)
    began: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: asyncio.Event = field(default_factory=asyncio.Event)
    work: Callable[[], None] = lambda: None

    async def __call__(self, lease: Lease) -> None:
        self.tokens.append(lease.token)
        self.began.set()
        try:
            self.work()
            await asyncio.Event().wait()
        finally:
            self.stopped_at.append(asyncio.get_running_loop().time())
            self.stopped.set()


@asynccontextmanager
async def running(leases: FakeLeases, leading: Leading) -> AsyncIterator[None]:
    task = asyncio.create_task(Leadership("simex", "here", leases, leading, TIMES).run())
    try:
        async with asyncio.timeout(10):
            yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def begins_again(leading: Leading) -> None:
    leading.began.clear()
    await leading.began.wait()


async def test_who_stops_releases_the_lease() -> None:
    leases, leading = FakeLeases(), Leading()
    async with running(leases, leading):
        await leading.began.wait()
    assert (leases.holder, leases.released, len(leading.stopped_at)) == ("", [1], 1)


async def test_a_replica_waits_as_long_as_another_leads() -> None:
    leases, leading = FakeLeases(holder="there"), Leading()
    async with running(leases, leading):
        await asyncio.sleep(0)
        leases.holder = ""
        await leading.began.wait()
    assert leading.tokens == [1]


async def test_who_cannot_renew_stops_before_another_can_have_the_lease_and_then_tries_again() -> None:
    leases, leading = FakeLeases(), Leading()
    async with running(leases, leading):
        await leading.began.wait()
        leases.problem = ConnectionError("the database is away")
        await leading.stopped.wait()
        assert leading.stopped_at[0] < leases.renewed_at + leases.valid_seconds
        leases.problem = None
        await begins_again(leading)
    assert leading.tokens == [1, 2]


async def test_who_gets_no_answer_stops_before_another_can_have_the_lease() -> None:
    leases, leading = FakeLeases(), Leading()
    async with running(leases, leading):
        await leading.began.wait()
        leases.hangs = True
        await leading.stopped.wait()
        assert leading.stopped_at[0] < leases.renewed_at + leases.valid_seconds


async def test_who_is_told_that_another_has_the_lease_stops_and_takes_nothing_from_it() -> None:
    leases, leading = FakeLeases(), Leading()
    async with running(leases, leading):
        await leading.began.wait()
        leases.holder, leases.token = "there", 2
        await leading.stopped.wait()
    assert leases.holder == "there"


async def test_work_that_fails_is_begun_anew_under_another_token() -> None:
    def fail() -> None:
        leading.work = lambda: None
        raise ValueError("a defect")

    leases, leading = FakeLeases(), Leading(work=fail)
    async with running(leases, leading):
        await leading.stopped.wait()
        await begins_again(leading)
    assert leading.tokens == [1, 2]
