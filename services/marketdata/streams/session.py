"""One stream of instruments, from the first subscription to its end."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from levimesh.common.v1 import streaming_pb2
from services.marketdata.domain.instruments import Instrument, Subscribed
from services.marketdata.streams import resume_tokens
from services.marketdata.streams.channels import Channel, LineChannel
from services.marketdata.streams.live import RESUMABLE, Live, Place, SlowReader, places
from services.marketdata.streams.merge import Merge
from services.runtime.bell import Bell
from services.runtime.stream_guard import cut_when_stalled

Results = list[tuple[Instrument, Subscribed]]


class Session:
    """The instruments of one stream, and the channels that deliver them."""

    def __init__(self, live: Live, most: int, heartbeat: float) -> None:
        """Of at most ``most`` instruments."""
        self._live = live
        self._most = most
        self._slow_reader: SlowReader = streaming_pb2.SLOW_READER_UNSPECIFIED
        self._resumes: Mapping[str, str] = {}
        self._instruments: dict[Instrument, None] = {}
        self._channels: dict[Place, Channel] = {}
        self.bell = Bell()
        self.merge = Merge(self.bell, heartbeat)

    def begin(self, slow_reader: SlowReader, resume_token: str) -> None:
        """Before the first subscription: how it is to go on. Raises ResumeTokenInvalid."""
        self._slow_reader = slow_reader
        self._resumes = resume_tokens.decode(resume_token, RESUMABLE)
        if slow_reader != streaming_pb2.SLOW_READER_CONFLATE:
            cut_when_stalled(lambda: self.merge.is_behind)

    @property
    def resume_token(self) -> str:
        """Where to continue after what has been sent."""
        # Before the first subscription it is the token that the reader came with.
        return resume_tokens.encode({**self._resumes, **self.merge.offsets})

    def list(self) -> Results:
        """What is subscribed to."""
        return [(instrument, Subscribed.SUBSCRIBED) for instrument in self._instruments]

    async def subscribe(self, instruments: Sequence[Instrument]) -> Results:
        """Deliver these too. Raises DependencyUnavailable, and delivers none of them then."""
        results = [(instrument, self._enter(instrument)) for instrument in instruments]
        new = [instrument for instrument, became in results if became is Subscribed.SUBSCRIBED]
        for place, members in _by_place(new).items():
            channel = await self._channel(place)
            await channel.prepare([instrument.symbol for instrument in members])
            channel.add(members)
        self._resume()
        return results

    def unsubscribe(self, instruments: Sequence[Instrument]) -> Results:
        """Deliver these no more."""
        results: Results = []
        for instrument in instruments:
            known = instrument in self._instruments
            self._instruments.pop(instrument, None)
            results.append((instrument, Subscribed.UNSUBSCRIBED if known else Subscribed.NOT_SUBSCRIBED))
        for place, members in _by_place(instruments).items():
            if (channel := self._channels.get(place)) is not None:
                channel.remove(members)
                if not channel.instruments:
                    self.merge.remove(self._channels.pop(place))
        return results

    def _enter(self, instrument: Instrument) -> Subscribed:
        if instrument in self._instruments:
            return Subscribed.ALREADY_SUBSCRIBED
        if (refusal := self._live.refusal(instrument)) is not None:
            return refusal
        if len(self._instruments) >= self._most:
            return Subscribed.TOO_MANY
        self._instruments[instrument] = None
        return Subscribed.SUBSCRIBED

    async def _channel(self, place: Place) -> Channel:
        if (channel := self._channels.get(place)) is None:
            channel = self._channels[place] = await self._live.open(place, self._slow_reader, self.bell)
            self.merge.add(channel)
        return channel

    def _resume(self) -> None:
        """Let the channels that were open before continue where they were."""
        resumes, self._resumes = self._resumes, {}
        for channel in self._channels.values():
            if isinstance(channel, LineChannel) and channel.name in resumes:
                self.merge.resume(channel, resumes[channel.name])


def _by_place(instruments: Sequence[Instrument]) -> Mapping[Place, list[Instrument]]:
    found: dict[Place, list[Instrument]] = defaultdict(list)
    for instrument in instruments:
        for place in places(instrument):
            found[place].append(instrument)
    return found
