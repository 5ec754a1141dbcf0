"""Between protobuf and the domain."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from google.protobuf.message import Message

from levimesh.marketdata.v1 import candle_pb2, marketdata_service_pb2, trade_pb2
from services.marketdata.domain.days import LocalDay
from services.marketdata.domain.market import Candle, Interval, Origin, TakerSide, Trade
from services.marketdata.domain.series import Progress
from services.marketdata.domain.ticker import Ticker
from services.runtime import decimals, timestamps
from services.runtime.decimals import spelled
from services.runtime.journal import Entry

_INTERVALS = {
    Interval.ONE_SECOND: candle_pb2.INTERVAL_1S,
    Interval.FIVE_SECONDS: candle_pb2.INTERVAL_5S,
    Interval.ONE_MINUTE: candle_pb2.INTERVAL_1M,
    Interval.FIVE_MINUTES: candle_pb2.INTERVAL_5M,
    Interval.FIFTEEN_MINUTES: candle_pb2.INTERVAL_15M,
    Interval.ONE_HOUR: candle_pb2.INTERVAL_1H,
    Interval.FOUR_HOURS: candle_pb2.INTERVAL_4H,
    Interval.ONE_DAY: candle_pb2.INTERVAL_1D,
}
_INTERVALS_FROM_PB = {value: interval for interval, value in _INTERVALS.items()}
_ORIGINS = {
    Origin.TRADES: candle_pb2.CANDLE_ORIGIN_TRADES,
    Origin.SOURCE: candle_pb2.CANDLE_ORIGIN_SOURCE,
    Origin.ROLL_UP: candle_pb2.CANDLE_ORIGIN_ROLL_UP,
}
_ORIGINS_FROM_PB = {value: origin for origin, value in _ORIGINS.items()}
_SIDES = {
    TakerSide.UNKNOWN: trade_pb2.TAKER_SIDE_UNSPECIFIED,
    TakerSide.BUY: trade_pb2.TAKER_SIDE_BUY,
    TakerSide.SELL: trade_pb2.TAKER_SIDE_SELL,
}

_SIDES_FROM_PB = {value: side for side, value in _SIDES.items()}


def interval_from_pb(value: candle_pb2.Interval.ValueType) -> Interval:
    """The interval; the contract's rules have refused what is none."""
    return _INTERVALS_FROM_PB[value]


def interval_to_pb(interval: Interval) -> candle_pb2.Interval.ValueType:
    return _INTERVALS[interval]


def span_from_pb(
    request: marketdata_service_pb2.GetCandlesRequest
    | marketdata_service_pb2.ListTradesRequest
    | marketdata_service_pb2.GetIndicatorsRequest,
) -> tuple[datetime | None, datetime | None]:
    """The start and the end of the span of time that is asked for; None where it is open."""
    return (
        timestamps.from_pb(request.start_time) if request.HasField("start_time") else None,
        timestamps.from_pb(request.end_time) if request.HasField("end_time") else None,
    )


def put_trade(trade: Trade, message: trade_pb2.Trade) -> None:
    """Into an empty message, in place: for many of them that takes a third of the time."""
    message.symbol = trade.symbol
    message.trade_id = trade.trade_id
    message.price.value = spelled(trade.price)
    message.quantity.value = spelled(trade.quantity)
    message.taker_side = _SIDES[trade.taker_side]
    timestamps.put(trade.trade_time, message.trade_time)
    timestamps.put(trade.receive_time, message.receive_time)
    message.sequence = trade.sequence


def trade_from_pb(trade: trade_pb2.Trade) -> Trade:
    return Trade(
        trade.symbol,
        trade.trade_id,
        decimals.from_pb(trade.price),
        decimals.from_pb(trade.quantity),
        _SIDES_FROM_PB[trade.taker_side],
        timestamps.from_pb(trade.trade_time),
        timestamps.from_pb(trade.receive_time),
        trade.sequence,
    )


def trades_to_pb(trades: Iterable[Trade]) -> trade_pb2.TradeBatch:
    batch = trade_pb2.TradeBatch()
    for trade in trades:
        put_trade(trade, batch.trades.add())
    return batch


def candle_to_pb(candle: Candle) -> candle_pb2.Candle:
    message = candle_pb2.Candle()
    put_candle(candle, message)
    return message


def put_candle(candle: Candle, message: candle_pb2.Candle) -> None:
    """Into an empty message, in place: for many of them that takes a third of the time."""
    message.symbol = candle.symbol
    message.interval = _INTERVALS[candle.interval]
    timestamps.put(candle.open_time, message.open_time)
    # All candles open at whole seconds.
    message.close_time.seconds = message.open_time.seconds + candle.interval.value
    message.open.value = spelled(candle.open)
    message.high.value = spelled(candle.high)
    message.low.value = spelled(candle.low)
    message.close.value = spelled(candle.close)
    message.volume.value = spelled(candle.volume)
    message.origin = _ORIGINS[candle.origin]
    message.state = candle_pb2.CANDLE_STATE_COMPLETE
    message.revision = candle.revision
    message.sequence = candle.sequence


def candle_from_pb(candle: candle_pb2.Candle) -> Candle:
    return Candle(
        candle.symbol,
        _INTERVALS_FROM_PB[candle.interval],
        timestamps.from_pb(candle.open_time),
        decimals.from_pb(candle.open),
        decimals.from_pb(candle.high),
        decimals.from_pb(candle.low),
        decimals.from_pb(candle.close),
        decimals.from_pb(candle.volume),
        _ORIGINS_FROM_PB[candle.origin],
        candle.revision,
        candle.sequence,
    )


def ticker_to_pb(ticker: Ticker) -> trade_pb2.Ticker:
    last, day = ticker.last, ticker.day
    message = trade_pb2.Ticker(
        symbol=last.symbol,
        last_price=decimals.to_pb(last.price),
        last_quantity=decimals.to_pb(last.quantity),
        last_trade_time=timestamps.to_pb(last.trade_time),
        last_receive_time=timestamps.to_pb(last.receive_time),
    )
    if day is not None:
        message.open_24h.CopyFrom(decimals.to_pb(day.open))
        message.high_24h.CopyFrom(decimals.to_pb(day.high))
        message.low_24h.CopyFrom(decimals.to_pb(day.low))
        message.volume_24h.CopyFrom(decimals.to_pb(day.volume))
    return message


def backfill_to_pb(progress: Progress) -> candle_pb2.Backfill:
    return candle_pb2.Backfill(
        symbol=progress.symbol,
        interval=_INTERVALS[progress.interval],
        start_time=timestamps.to_pb(progress.start_time),
        end_time=timestamps.to_pb(progress.end_time),
        total_candles=progress.total,
        stored_candles=progress.stored,
        complete=progress.complete,
    )


def candles_page_to_pb(candles: Iterable[Candle], next_page_token: str) -> marketdata_service_pb2.GetCandlesResponse:
    response = marketdata_service_pb2.GetCandlesResponse(next_page_token=next_page_token)
    for candle in candles:
        put_candle(candle, response.candles.add())
    return response


def trades_page_to_pb(trades: Iterable[Trade], next_page_token: str) -> marketdata_service_pb2.ListTradesResponse:
    response = marketdata_service_pb2.ListTradesResponse(next_page_token=next_page_token)
    for trade in trades:
        put_trade(trade, response.trades.add())
    return response


def local_days_to_pb(
    days: Iterable[tuple[LocalDay, Candle]], next_page_token: str
) -> marketdata_service_pb2.GetCandlesResponse:
    """Days that may have 23 or 25 hours."""
    response = marketdata_service_pb2.GetCandlesResponse(next_page_token=next_page_token)
    for day, candle in days:
        message = candle_to_pb(candle)
        message.close_time.CopyFrom(timestamps.to_pb(day.close_time))
        response.candles.append(message)
    return response


def trades_event(entries: Sequence[Entry]) -> Mapping[str, Message]:
    """Entries of the topic of trades as the event of a stream."""
    batch = trade_pb2.TradeBatch()
    for entry in entries:
        batch.MergeFromString(entry.event)
    return {"trades": batch}


def candles_event(entries: Sequence[Entry]) -> Mapping[str, Message]:
    """Entries of a topic of candles as the event of a stream."""
    return {"candles": candle_pb2.CandleBatch(candles=(candle_pb2.Candle.FromString(e.event) for e in entries))}
