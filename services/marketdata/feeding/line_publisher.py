"""Publishes the rows of lines, each once and in order."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from services.marketdata.feeding.patience import Patience
from services.marketdata.ports.lines import Lines
from services.runtime.journal import Journal, LineEntry

_log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""While the journal is away so many rows of all lines together are kept in memory, and a batch of each line; the rest
is read from the store later."""
_ROWS_AT_ONCE = 1_000
_ROWS_TOGETHER = 5_000
"""About so many rows of several lines go to the journal at once."""
_WRITE_SECONDS = 1.0
_LOOK_SECONDS = 2.0
_STOP_SECONDS = 2.0


class Numbered(Protocol):
    """A row of a line."""

    @property
    def sequence(self) -> int:
        """Its number."""


Row = TypeVar("Row", bound=Numbered)


@dataclass(frozen=True)
class LineKind(Generic[Row]):
    """The lines of one topic, which have the same kind of rows."""

    topic: str
    line: Callable[[str], str]
    """The name of a key's line."""
    after: Callable[[str, int, int], Awaitable[Sequence[Row]]]
    """The first so many stored rows of a key behind a sequence."""
    entries: Callable[[str, Sequence[Row]], list[LineEntry]]
    """Rows of a key, one after the other without holes, as entries of the journal."""


@dataclass
class _State(Generic[Row]):
    waiting: list[Row] = field(default_factory=list)
    """Stored rows without holes that are to be published."""
    behind: bool = False
    """Whether rows are to be published that do not wait here."""
    published: int | None = None
    """The newest row that is known to be published."""
    written: int = 0
    """The same, as it is written down."""
    seen: int | None = None
    """Where the line ended when it was looked at last."""


class LinePublisher(Generic[Row]):
    """Publishes what it is offered, straight from the store, and reads from the store what it was not offered.

    The journal takes only what comes next, so any number of replicas may publish the same lines. ``run`` must run.
    """

    def __init__(self, kind: LineKind[Row], journal: Journal, lines: Lines) -> None:
        self._kind = kind
        self._journal = journal
        self._lines = lines
        self._states: dict[str, _State[Row]] = {}
        self._news = asyncio.Event()

    def offer(self, key: str, rows: Sequence[Row]) -> None:
        """Publish ``rows``, which were just stored, one after the other; never waits."""
        if not rows:
            return
        state = self._state(key)
        last = state.waiting[-1].sequence if state.waiting else rows[0].sequence - 1
        if rows[0].sequence != last + 1 or self._is_too_much(state, rows):
            self.catch_up(key)
            return
        state.waiting += rows
        self._news.set()

    def _is_too_much(self, state: _State[Row], rows: Sequence[Row]) -> bool:
        """Whether more would wait of a line than a batch, and of all lines together more than may."""
        if len(state.waiting) + len(rows) <= _ROWS_AT_ONCE:
            return False
        return sum(len(each.waiting) for each in self._states.values()) + len(rows) > MOST_WAITING

    def catch_up(self, key: str) -> None:
        """Publish what is stored of a line and has not been published."""
        state = self._state(key)
        state.behind = True
        state.waiting.clear()
        self._news.set()

    async def run(self) -> None:
        """Publish for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._publish())
                tasks.create_task(self._write_down_behind())
        finally:
            with suppress(Exception):
                async with asyncio.timeout(_STOP_SECONDS):
                    await self._write_down()

    async def watch_over(self, keys: Callable[[], Iterable[str]]) -> None:
        """For ever, publish what others have stored in the lines of ``keys`` and did not come to publish."""
        patience = Patience()
        while True:
            try:
                await self._look_at(list(keys()))
                patience.reset()
            except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again
                _log.warning("lines not looked at", extra={"topic": self._kind.topic, "problem": repr(error)})
                await asyncio.sleep(patience.lost())
            await asyncio.sleep(_LOOK_SECONDS)

    async def _look_at(self, keys: Sequence[str]) -> None:
        # In this order: whatever is in the journal was stored before.
        held = await self._journal.newest_in_line(self._kind.topic, keys)
        lines = await self._lines.get([self._kind.line(key) for key in keys])
        for key in keys:
            state, line = self._state(key), lines.get(self._kind.line(key))
            last = 0 if line is None else line.last_sequence
            if held.get(key, 0) > last:
                problem = {"line": self._kind.line(key), "published": held[key], "stored": last}
                _log.error("the journal is ahead of the database; its line goes on from there", extra=problem)
                await self._journal.move_line(self._kind.topic, key, held[key], last)
                held[key] = last
            known = held.get(key, max(state.published or 0, 0 if line is None else line.published_sequence))
            # What was stored since the last look may be on its way.
            if known < (last if state.seen is None else state.seen):
                self.catch_up(key)
            state.seen = last

    async def _publish(self) -> None:
        patience = Patience()
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                for key in [key for key, state in self._states.items() if state.behind]:
                    await self._catch_up(key, self._states[key])
                while await self._publish_waiting():
                    pass
                patience.reset()
            except Exception as error:  # noqa: BLE001 - whatever fails is told, and tried again: nothing may be lost
                _log.warning("not published", extra={"topic": self._kind.topic, "problem": repr(error)})
                await asyncio.sleep(patience.lost())
                self._news.set()

    async def _publish_waiting(self) -> bool:
        """Publish some rows of every line that has any; whether there were some."""
        entries: list[LineEntry] = []
        rows, found = 0, False
        for key, state in list(self._states.items()):
            if state.waiting and not state.behind:
                some = state.waiting[:_ROWS_AT_ONCE]
                entries += self._kind.entries(key, some)
                rows += len(some)
            if rows >= _ROWS_TOGETHER:
                await self._publish_entries(entries)
                entries, rows = [], 0
                found = True
        if entries:
            await self._publish_entries(entries)
            found = True
        return found

    async def _publish_entries(self, entries: Sequence[LineEntry]) -> None:
        for key, newest in (await self._append(entries)).items():
            state = self._states[key]
            if newest is None:
                self.catch_up(key)
                continue
            state.published = newest
            state.waiting = [row for row in state.waiting if row.sequence > newest]
            if state.waiting and state.waiting[0].sequence > newest + 1:
                self.catch_up(key)

    async def _catch_up(self, key: str, state: _State[Row]) -> None:
        """Publish what is stored behind what is published."""
        state.behind = False
        try:
            await self._read_and_publish(key, state)
        except BaseException:
            state.behind = True
            raise

    async def _read_and_publish(self, key: str, state: _State[Row]) -> None:
        published = await self._known_published(key, state)
        while rows := _without_holes(await self._kind.after(key, published, _ROWS_AT_ONCE)):
            newest = (await self._append(self._kind.entries(key, rows), published))[key]
            if newest is None or newest == published:
                _log.error("rows are lost", extra={"line": self._kind.line(key), "behind": published})
                held = (await self._journal.newest_in_line(self._kind.topic, [key])).get(key)
                newest = rows[0].sequence - 1
                if held is None or held < newest:
                    await self._journal.move_line(self._kind.topic, key, held, newest)
            state.published = published = newest

    async def _known_published(self, key: str, state: _State[Row]) -> int:
        held = (await self._journal.newest_in_line(self._kind.topic, [key])).get(key)
        if held is not None:
            return held
        name = self._kind.line(key)
        line = (await self._lines.get([name])).get(name)
        return max(state.published or 0, 0 if line is None else line.published_sequence)

    async def _append(self, entries: Sequence[LineEntry], begin: int | None = None) -> dict[str, int | None]:
        begins = {
            entry.key: known
            for entry in entries
            if (known := self._states[entry.key].published if begin is None else begin) is not None
        }
        return await self._journal.append_in_line(self._kind.topic, entries, begins)

    async def _write_down_behind(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            try:
                await self._write_down()
            except Exception as error:  # noqa: BLE001 - it is written down a second later
                _log.warning("not written down", extra={"topic": self._kind.topic, "problem": repr(error)})

    async def _write_down(self) -> None:
        news = {
            key: state.published
            for key, state in self._states.items()
            if state.published is not None and state.published > state.written
        }
        if not news:
            return
        await self._lines.put_published({self._kind.line(key): sequence for key, sequence in news.items()})
        for key, sequence in news.items():
            self._states[key].written = sequence

    def _state(self, key: str) -> _State[Row]:
        return self._states.setdefault(key, _State())


def _without_holes(rows: Sequence[Row]) -> Sequence[Row]:
    """The first of ``rows`` that follow one another."""
    for index, row in enumerate(rows):
        if row.sequence != rows[0].sequence + index:
            return rows[:index]
    return rows
