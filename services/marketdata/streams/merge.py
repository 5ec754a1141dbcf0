"""Several channels in one stream."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

from services.marketdata.streams.channels import Channel, LineChannel, Output
from services.runtime.bell import Bell


class Merge:
    """What the channels of one stream have, each in turn, and a heartbeat when none has anything."""

    def __init__(self, bell: Bell, heartbeat: float) -> None:
        self._bell = bell
        self.heartbeat = heartbeat
        """After how long without other messages one is sent."""
        self._channels: list[Channel] = []
        self._missed: list[LineChannel] = []

    @property
    def is_behind(self) -> bool:
        """Whether a reader may miss something by being slow."""
        return any(channel.is_behind for channel in self._channels)

    @property
    def offsets(self) -> dict[str, str]:
        """Where the channels are that can be resumed."""
        return {channel.name: channel.offset for channel in self._channels if channel.offset is not None}

    def add(self, channel: Channel) -> None:
        """Take from ``channel`` too."""
        self._channels.append(channel)

    def resume(self, channel: LineChannel, offset: str) -> None:
        """First of all give what ``channel`` has missed since ``offset``."""
        channel.resume_after(offset)
        self._missed.append(channel)

    def remove(self, channel: Channel) -> None:
        """Take from ``channel`` no more."""
        self._channels.remove(channel)
        channel.close()

    def close(self) -> None:
        """Take from none any more."""
        for channel in self._channels:
            channel.close()

    async def outputs(self, has_others: Callable[[], bool] = lambda: False) -> AsyncIterator[Output | None]:
        """What is waiting, and None when a heartbeat is due or the caller ``has_others`` to send first.

        Raises SlowReaderCut, and DependencyUnavailable in the place of a heartbeat that nobody can vouch for.
        """
        clock = asyncio.get_running_loop().time
        spoke_at = clock()
        while True:
            if has_others():
                yield None
                spoke_at = clock()
            elif self._missed:
                async for output in self._missed.pop(0).catch_up():
                    yield output
                    spoke_at = clock()
            else:
                idle = True
                for channel in list(self._channels):
                    # One at a time: a resume token says that what was taken before has been sent.
                    if (taken := await channel.take()) is not None:
                        yield taken
                        idle, spoke_at = False, clock()
                if idle and not has_others():
                    if (beat_at := spoke_at + self.heartbeat) > clock():
                        await self._bell.wait(min([beat_at, *self._due()]))
                        continue
                    self._vouch()
                    yield None
                    spoke_at = clock()

    def _due(self) -> Iterable[float]:
        return (due for channel in self._channels if (due := channel.due) is not None)

    def _vouch(self) -> None:
        for channel in self._channels:
            channel.vouch()
