"""The mesh's one event primitive: topics of events, read from any offset on.

The first engine is Redis Streams. Redis only carries: what must not be lost is in PostgreSQL before it comes here.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.runtime.errors import DependencyUnavailable
from services.runtime.redis import connect_to

_log = logging.getLogger(__name__)

START = "0-0"
"""The offset before the first event of any topic."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One event of a topic."""

    offset: str
    key: str
    """What the event is about, for example a symbol; readers filter by it."""
    event: bytes
    """A serialised message of the contract."""


@dataclass(frozen=True, slots=True)
class LineEntry:
    """An event that holds the rows ``first`` to ``last`` of a line: of what is numbered 1, 2, 3 … for each key."""

    key: str
    event: bytes
    first: int
    last: int


class Journal(Protocol):
    """Topics of events in the order in which they were appended."""

    async def append(self, topic: str, events: Sequence[tuple[str, bytes]]) -> list[str]:
        """Append ``(key, event)`` pairs, all or none, and return their offsets."""

    async def append_in_line(
        self, topic: str, entries: Sequence[LineEntry], begin: Mapping[str, int] | None = None
    ) -> dict[str, int | None]:
        """Append those entries that come next in the lines of their keys; the others are left out.

        So whoever appends, and however often, every row is in the topic once and in order. Returns the number of the
        newest row in the topic for each key: if it is below what was to be appended, the rows behind it come first.
        It is None for a key that the topic does not know: its line begins behind what ``begin`` says, or not at all.
        """

    async def newest_in_line(self, topic: str, keys: Sequence[str]) -> dict[str, int]:
        """The number of the newest row of each key's line; those that have none are left out."""

    async def move_line(self, topic: str, key: str, known: int | None, newest: int) -> None:
        """Let a key's line go on behind ``newest``, for rows that are lost for ever.

        Nothing happens unless ``known`` is the newest row that the topic has of it: somebody else was faster.
        """

    async def read(self, topic: str, after: str, limit: int) -> list[Entry]:
        """The first ``limit`` events after the offset ``after`` that the topic still holds."""

    async def last_offset(self, topic: str) -> str:
        """The offset of the newest event; START when there is none."""

    async def holds(self, topic: str, offset: str) -> bool:
        """Whether nothing after ``offset`` has been dropped, so that reading on from there misses nothing."""

    def tail(self, topic: str, after: str) -> AsyncIterator[list[Entry]]:
        """The events after ``after`` as they come, whatever is waiting at a time, for ever."""


# A line's newest number stands beside the stream, so both are lost or kept together. ARGV: how many events are kept,
# then key, first, last, event and, if it is known, where the line begins. Numbers stay text: Lua rounds large ones.
_APPEND_IN_LINE = """
local newest = {}
for i = 2, #ARGV, 5 do
    local key, first, last, event, begin = unpack(ARGV, i, i + 4)
    local held = redis.call('HGET', KEYS[2], key) or begin
    if held ~= '' and tonumber(first) == tonumber(held) + 1 then
        redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'key', key, 'event', event)
        redis.call('HSET', KEYS[2], key, last)
        held = last
    end
    newest[#newest + 1] = held
end
return newest
"""

_MOVE_LINE = """
if (redis.call('HGET', KEYS[1], ARGV[1]) or '') == ARGV[2] then
    redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
"""


class RedisJournal:
    """The journal on Redis Streams: an offset is an entry id, a topic keeps about its newest ``keep`` events."""

    def __init__(self, redis: Redis, keep: int, patience: float = 5.0) -> None:
        self._redis = redis
        self._append_in_line = redis.register_script(_APPEND_IN_LINE)
        self._move_line = redis.register_script(_MOVE_LINE)
        self._keep = keep
        self._patience = patience

    async def append(self, topic: str, events: Sequence[tuple[str, bytes]]) -> list[str]:
        async with self._bounded(), self._redis.pipeline(transaction=True) as pipeline:
            for key, event in events:
                pipeline.xadd(_stream(topic), {"key": key, "event": event}, maxlen=self._keep, approximate=True)
            offsets: list[bytes] = await pipeline.execute()
        return [offset.decode() for offset in offsets]

    async def append_in_line(
        self, topic: str, entries: Sequence[LineEntry], begin: Mapping[str, int] | None = None
    ) -> dict[str, int | None]:
        arguments: list[str | bytes | int] = [self._keep]
        for entry in entries:
            where = "" if begin is None else begin.get(entry.key, "")
            arguments += (entry.key, entry.first, entry.last, entry.event, where)
        async with self._bounded():
            answer: Any = await self._append_in_line(keys=[_stream(topic), _lines(topic)], args=arguments)
        return {entry.key: int(held) if held else None for entry, held in zip(entries, answer, strict=True)}

    async def newest_in_line(self, topic: str, keys: Sequence[str]) -> dict[str, int]:
        if not keys:
            return {}
        async with self._bounded():
            held: Any = await self._redis.hmget(_lines(topic), list(keys))
        return {key: int(newest) for key, newest in zip(keys, held, strict=True) if newest is not None}

    async def move_line(self, topic: str, key: str, known: int | None, newest: int) -> None:
        async with self._bounded():
            await self._move_line(keys=[_lines(topic)], args=[key, "" if known is None else known, newest])

    async def read(self, topic: str, after: str, limit: int) -> list[Entry]:
        async with self._bounded():
            items: Any = await self._redis.xrange(_stream(topic), f"({after}", count=limit)
        return _entries(items)

    async def last_offset(self, topic: str) -> str:
        async with self._bounded():
            newest: Any = await self._redis.xrevrange(_stream(topic), count=1)
        return str(newest[0][0], "ascii") if newest else START

    async def holds(self, topic: str, offset: str) -> bool:
        async with self._bounded():
            if offset == START:
                # Nothing is dropped before the topic is full.
                return bool(await self._redis.xlen(_stream(topic)) < self._keep)
            return bool(await self._redis.xrange(_stream(topic), offset, offset))

    async def tail(self, topic: str, after: str) -> AsyncIterator[list[Entry]]:
        while True:
            # Redis answers after two seconds at the latest, so that a dead connection is noticed.
            async with self._bounded(2):
                answer: Any = await self._redis.xread({_stream(topic): after}, count=1000, block=2_000)
            for _, items in answer or ():
                entries = _entries(items)
                after = entries[-1].offset
                yield entries

    async def ping(self) -> None:
        """Raise unless Redis answers."""
        async with self._bounded():
            await self._redis.ping()

    @asynccontextmanager
    async def _bounded(self, extra: float = 0) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._patience + extra):
                yield
        except TimeoutError as error:
            raise DependencyUnavailable("the journal does not answer; try again in a second", part="redis") from error


@asynccontextmanager
async def open_journal(url: SecretStr, *, keep: int = 100_000, patience: float = 5.0) -> AsyncIterator[RedisJournal]:
    """The journal on the Redis at ``url``; nothing is connected before the first use.

    Raises DependencyUnavailable when a command is not answered within ``patience`` seconds.

    A cancelled command closes its connection (redis-py does), so no answer is left for the next user of the pool.
    """
    # redis-py bounds a send with asyncio.wait_for, which loses a cancellation on Python 3.11: so we bound it ourselves.
    redis = Redis.from_url(
        **connect_to(url),
        socket_timeout=None,
        socket_connect_timeout=2,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 1),
    )
    try:
        yield RedisJournal(redis, keep, patience)
    finally:
        await redis.aclose()


def is_offset(text: str) -> bool:
    """Whether ``text`` has the form of an offset."""
    return re.fullmatch(r"[0-9]{1,19}-[0-9]{1,19}", text) is not None


def is_after(offset: str, other: str) -> bool:
    """Whether ``offset`` comes after ``other``."""
    return _position(offset) > _position(other)


def _position(offset: str) -> tuple[int, int]:
    time, _, sequence = offset.partition("-")
    return int(time), int(sequence)


def _stream(topic: str) -> str:
    return f"journal:{topic}"


def _lines(topic: str) -> str:
    """In a cluster, this lies where the stream does: the part in braces decides."""
    return f"lines:{{{_stream(topic)}}}"


def _entries(items: Sequence[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    return [Entry(offset.decode(), fields[b"key"].decode(), fields[b"event"]) for offset, fields in items]
