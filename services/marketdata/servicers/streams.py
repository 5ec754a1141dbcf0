"""The streams of the MarketDataService."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.marketdata.converters import market as convert
from services.marketdata.converters import streams as stream_convert
from services.marketdata.streams.channels import LineChannel, Missed, Output, Payload
from services.marketdata.streams.forming import FormingChannel
from services.marketdata.streams.live import Live
from services.marketdata.streams.merge import Merge
from services.marketdata.streams.session import Session
from services.runtime.bell import Bell
from services.runtime.broadcast import HEARTBEAT_SECONDS
from services.runtime.errors import FieldViolations, ResumeTokenInvalid
from services.runtime.journal import is_offset
from services.runtime.ring import Keys
from services.runtime.stream_guard import cut_when_stalled, instrument_limit
from services.runtime.streaming import as_message, heartbeat, length_delimited, stream_packed

Subscription = pb.Subscribe | pb.StreamMarketDataRequest


class Streams:
    """Live data, in the forms that the contract has for it."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def trades(self, request: pb.StreamTradesRequest) -> AsyncIterator[pb.StreamTradesResponse]:
        """Trades of some symbols, or of all."""
        subscription = self._live.trades.subscribe(
            keys=self._keys(request.symbols), resume_token=request.resume_token, slow_reader=request.slow_reader
        )
        return stream_packed(subscription, pb.StreamTradesResponse, stream_convert.pack_trades_alone)

    def candles(self, request: pb.StreamCandlesRequest) -> AsyncIterator[pb.StreamCandlesResponse]:
        """Candles of some symbols, or of all."""
        keys = self._keys(request.symbols)
        if request.include_forming:
            return self._candles_with_forming(request, keys)
        subscription = self._live.candles[convert.interval_from_pb(request.interval)].subscribe(
            keys=keys, resume_token=request.resume_token, slow_reader=request.slow_reader
        )
        return stream_packed(subscription, pb.StreamCandlesResponse, stream_convert.pack_candles_alone)

    async def add_forming(self, request: pb.GetCandlesRequest, page: pb.GetCandlesResponse) -> None:
        """Add the candle that is forming to the last ``page`` of candles, if it was asked for."""
        start, end = convert.span_from_pb(request)
        candle = await self._live.forming.now(request.symbol, convert.interval_from_pb(request.interval))
        if candle is None or (start is not None and candle.open_time < start):
            return
        if end is None or candle.open_time < end:
            page.candles.append(stream_convert.forming_candle_to_pb(candle))

    async def instruments(self, request: pb.StreamMarketDataRequest) -> AsyncIterator[pb.StreamMarketDataResponse]:
        """The instruments of the request."""
        session = self._session()
        try:
            content = await _subscribe(session, request, "", "", first=True)
            yield as_message(_with_token(content, session.resume_token), pb.StreamMarketDataResponse)
            async for output in session.merge.outputs():
                yield as_message(_with_token(_content(output), session.resume_token), pb.StreamMarketDataResponse)
        finally:
            session.merge.close()

    async def conversation(
        self, requests: AsyncIterator[pb.MarketDataStreamRequest]
    ) -> AsyncIterator[pb.MarketDataStreamResponse]:
        """Whatever is asked for while the stream is open."""
        session, first = self._session(), True
        inbox = Inbox(requests, session.bell)
        try:
            async for output in session.merge.outputs(inbox.has_news):
                if inbox.has_news():
                    content = await _answer(session, inbox.take(), first=first)
                    first = False
                else:
                    content = _content(output)
                yield as_message(_with_token(content, session.resume_token), pb.MarketDataStreamResponse)
        finally:
            session.merge.close()
            await inbox.close()

    async def _candles_with_forming(
        self, request: pb.StreamCandlesRequest, keys: Keys | None
    ) -> AsyncIterator[pb.StreamCandlesResponse]:
        if request.resume_token and not is_offset(request.resume_token):
            raise ResumeTokenInvalid("resume_token is not one that this stream gave out; leave it empty to begin now")
        interval, bell = convert.interval_from_pb(request.interval), Bell()
        merge = Merge(bell, HEARTBEAT_SECONDS)
        complete = await LineChannel.open(
            "", self._live.candles[interval], request.slow_reader, bell, stream_convert.pack_candles_alone, keys
        )
        merge.add(complete)
        forming = FormingChannel(self._live.forming, interval, stream_convert.candles_payload_alone)
        forming.ring(bell)
        merge.add(forming)
        if request.slow_reader != streaming_pb2.SLOW_READER_CONFLATE:
            cut_when_stalled(lambda: merge.is_behind)
        try:
            symbols = frozenset(symbol.symbol for symbol in self._live.catalog.all()) if keys is None else keys
            await forming.prepare(symbols)
            forming.watch(symbols)
            if request.resume_token:
                merge.resume(complete, request.resume_token)
            else:
                yield pb.StreamCandlesResponse(heartbeat=heartbeat(), resume_token=complete.offset)
            async for output in merge.outputs():
                yield _candles_response(output, complete.offset)
        finally:
            merge.close()

    def _session(self) -> Session:
        return Session(self._live, instrument_limit(), HEARTBEAT_SECONDS)

    def _keys(self, symbols: Iterable[str]) -> Keys | None:
        """The symbols of a subscription; None for all. Raises SymbolNotFound."""
        keys = frozenset(symbols)
        for key in keys:
            self._live.catalog.require(key)
        return keys or None


class Inbox:
    """The requests of an open stream, one at a time: the next one is read when the one before is answered."""

    def __init__(self, requests: AsyncIterator[pb.MarketDataStreamRequest], bell: Bell) -> None:
        self._requests = requests
        self._bell = bell
        self._waiting: pb.MarketDataStreamRequest | None = None
        self._error: Exception | None = None
        self._taken = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    def has_news(self) -> bool:
        """Whether there is something to be taken."""
        return self._waiting is not None or self._error is not None

    def take(self) -> pb.MarketDataStreamRequest:
        """The request that waits. Raises what is wrong with it, as FieldViolations."""
        if self._waiting is None:
            raise self._error or AssertionError("nothing is waiting")
        request, self._waiting = self._waiting, None
        self._taken.set()
        return request

    async def close(self) -> None:
        """Read no more."""
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading

    async def _read(self) -> None:
        try:
            async for request in self._requests:
                self._waiting = request
                self._bell.ring()
                self._taken.clear()
                await self._taken.wait()
        except Exception as error:  # noqa: BLE001 - the stream ends with it
            self._error = error
            self._bell.ring()


async def _answer(session: Session, request: pb.MarketDataStreamRequest, *, first: bool) -> bytes:
    match request.WhichOneof("action"):
        case "subscribe":
            return await _subscribe(session, request.subscribe, request.request_id, "subscribe.", first=first)
        case "unsubscribe":
            instruments = stream_convert.instruments_from_pb(request.unsubscribe.instruments, "unsubscribe.instruments")
            return stream_convert.results_payload(request.request_id, session.unsubscribe(instruments))
        case _:
            return stream_convert.results_payload(request.request_id, session.list())


async def _subscribe(session: Session, request: Subscription, request_id: str, field: str, *, first: bool) -> bytes:
    if first:
        session.begin(request.slow_reader, request.resume_token)
    elif request.resume_token or request.slow_reader:
        name = "resume_token" if request.resume_token else "slow_reader"
        raise FieldViolations({f"{field}{name}": "is only for the first request of a stream"})
    if request.HasField("heartbeat_interval"):
        session.merge.heartbeat = request.heartbeat_interval.ToTimedelta().total_seconds()
    instruments = stream_convert.instruments_from_pb(request.instruments, f"{field}instruments")
    return stream_convert.results_payload(request_id, await session.subscribe(instruments))


def _content(output: Output | None) -> bytes:
    match output:
        case Payload(content):
            return content
        case Missed(instruments, lost):
            return stream_convert.gap_payload(instruments, streaming_pb2.Gap(cause=lost.cause, dropped=lost.dropped))
        case _:
            return pb.MarketDataStreamResponse(heartbeat=heartbeat()).SerializeToString()


def _candles_response(output: Output | None, offset: str) -> pb.StreamCandlesResponse:
    match output:
        case Payload(content):
            rest = pb.StreamCandlesResponse(resume_token=offset).SerializeToString()
            return as_message(content + rest, pb.StreamCandlesResponse)
        case Missed(_, lost):
            gap = streaming_pb2.Gap(cause=lost.cause, dropped=lost.dropped)
            return pb.StreamCandlesResponse(gap=gap, resume_token=offset)
        case _:
            return pb.StreamCandlesResponse(heartbeat=heartbeat(), resume_token=offset)


def _with_token(content: bytes, token: str) -> bytes:
    """``content``, a response without a token, with ``token``: messages that stand one behind the other are one."""
    return content + length_delimited(_TOKEN, token.encode())


_TOKEN = pb.MarketDataStreamResponse.DESCRIPTOR.fields_by_name["resume_token"].number
