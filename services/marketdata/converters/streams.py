"""Streams of live data between protobuf and the domain, and messages put together from serialised parts."""

from collections.abc import Iterable, Sequence
from functools import partial

from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import book_pb2, candle_pb2, indicator_pb2, stream_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.marketdata.converters import market as convert
from services.marketdata.converters.books import event_to_pb
from services.marketdata.converters.indicators import indicator_from_pb, indicator_to_pb
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.domain.instruments import Instrument, Subscribed
from services.marketdata.domain.market import Candle, Channel
from services.marketdata.domain.ticker import Ticker
from services.runtime.journal import Entry
from services.runtime.ring import MOST_BYTES as MOST_BYTES
from services.runtime.streaming import length_delimited

_CHANNELS = {
    Channel.TRADES: stream_pb2.CHANNEL_TRADES,
    Channel.CANDLES: stream_pb2.CHANNEL_CANDLES,
    Channel.BOOKS: stream_pb2.CHANNEL_BOOKS,
    Channel.TICKERS: stream_pb2.CHANNEL_TICKERS,
    Channel.INDICATORS: stream_pb2.CHANNEL_INDICATORS,
}
_CHANNELS_FROM_PB = {value: channel for channel, value in _CHANNELS.items()}
_STATUSES = {status: stream_pb2.SubscriptionStatus.Value(f"SUBSCRIPTION_STATUS_{status.name}") for status in Subscribed}
_RESPONSE = pb.MarketDataStreamResponse.DESCRIPTOR.fields_by_name
_BATCH_OF_CANDLES = candle_pb2.CandleBatch.DESCRIPTOR.fields_by_name["candles"].number


def instruments_from_pb(messages: Iterable[stream_pb2.Instrument], field: str) -> list[Instrument]:
    """The instruments of a request. Raises FieldViolations where the parameters of an indicator make no sense."""
    return [_instrument_from_pb(message, f"{field}[{index}]") for index, message in enumerate(messages)]


def instrument_to_pb(instrument: Instrument) -> stream_pb2.Instrument:
    message = stream_pb2.Instrument(
        channel=_CHANNELS[instrument.channel],
        symbol=instrument.symbol,
        include_forming=instrument.include_forming,
    )
    if instrument.interval is not None:
        message.interval = convert.interval_to_pb(instrument.interval)
    if instrument.indicator is not None:
        message.indicator.CopyFrom(indicator_to_pb(instrument.indicator))
    return message


def results_payload(request_id: str, results: Iterable[tuple[Instrument, Subscribed]]) -> bytes:
    """What became of the instruments of a request, as a response."""
    return pb.MarketDataStreamResponse(
        results=stream_pb2.SubscriptionResults(
            request_id=request_id,
            results=(
                stream_pb2.SubscriptionResult(instrument=instrument_to_pb(instrument), status=_STATUSES[status])
                for instrument, status in results
            ),
        )
    ).SerializeToString()


def gap_payload(instruments: Iterable[Instrument], gap: streaming_pb2.Gap) -> bytes:
    """A gap of these instruments, as a response."""
    found = stream_pb2.InstrumentGap(instruments=map(instrument_to_pb, instruments), gap=gap)
    return pb.MarketDataStreamResponse(gap=found).SerializeToString()


def book_event_to_pb(book: BookSnapshot) -> book_pb2.BookEvent:
    """The whole book as an event of its line."""
    return event_to_pb(book)


def books_payload(batch: book_pb2.BookBatch) -> bytes:
    """Events of books as a response."""
    return length_delimited(_RESPONSE["books"].number, batch.SerializeToString())


def tickers_payload(tickers: Iterable[Ticker]) -> bytes:
    """Tickers as a response."""
    batch = trade_pb2.TickerBatch(tickers=map(convert.ticker_to_pb, tickers))
    return length_delimited(_RESPONSE["tickers"].number, batch.SerializeToString())


def indicators_payload(batch: indicator_pb2.IndicatorBatch) -> bytes:
    """Indicators as a response."""
    return length_delimited(_RESPONSE["indicators"].number, batch.SerializeToString())


def forming_candle_to_pb(candle: Candle) -> candle_pb2.Candle:
    """A candle that goes on."""
    message = convert.candle_to_pb(candle)
    message.state = candle_pb2.CANDLE_STATE_FORMING
    return message


def forming_candle(candle: Candle) -> bytes:
    """A candle that goes on, as a part of a batch."""
    return length_delimited(_BATCH_OF_CANDLES, forming_candle_to_pb(candle).SerializeToString())


def candles_payload(parts: Iterable[bytes], field: int = _RESPONSE["candles"].number) -> bytes:
    """Candles, serialised as parts of a batch, as a response that has its batch in ``field``."""
    return length_delimited(field, b"".join(parts))


def candles_of(entry: Entry) -> Sequence[candle_pb2.Candle]:
    """The candles of an entry of a topic of candles."""
    return (candle_pb2.Candle.FromString(entry.event),)


def _pack_batches(field: int, entries: Sequence[Entry]) -> bytes:
    """Batches that stand one behind the other are one batch."""
    return length_delimited(field, b"".join([entry.event for entry in entries]))


def _pack_candles(field: int, entries: Sequence[Entry]) -> bytes:
    return candles_payload((length_delimited(_BATCH_OF_CANDLES, entry.event) for entry in entries), field)


pack_trades = partial(_pack_batches, _RESPONSE["trades"].number)
pack_books = partial(_pack_batches, _RESPONSE["books"].number)
pack_candles = partial(_pack_candles, _RESPONSE["candles"].number)
pack_trades_alone = partial(_pack_batches, pb.StreamTradesResponse.DESCRIPTOR.fields_by_name["trades"].number)
_CANDLES_ALONE = pb.StreamCandlesResponse.DESCRIPTOR.fields_by_name["candles"].number
pack_candles_alone = partial(_pack_candles, _CANDLES_ALONE)
candles_payload_alone = partial(candles_payload, field=_CANDLES_ALONE)


def _instrument_from_pb(message: stream_pb2.Instrument, field: str) -> Instrument:
    """What its channel has no use for is left out, so that it makes no other instrument."""
    channel = _CHANNELS_FROM_PB[message.channel]
    has_interval = channel in (Channel.CANDLES, Channel.INDICATORS)
    return Instrument(
        channel,
        message.symbol,
        convert.interval_from_pb(message.interval) if has_interval else None,
        message.include_forming and channel is Channel.CANDLES,
        indicator_from_pb(message.indicator, f"{field}.indicator") if channel is Channel.INDICATORS else None,
    )
