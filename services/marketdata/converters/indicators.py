"""Indicators between protobuf and the domain."""

from collections.abc import Iterable, Mapping, Sequence

from levimesh.marketdata.v1 import candle_pb2, indicator_pb2
from services.marketdata.domain.indicators import Indicator, IndicatorKind
from services.marketdata.use_cases.indicators import Point
from services.runtime import timestamps
from services.runtime.errors import FieldViolations

_KINDS = {
    IndicatorKind.RSI: indicator_pb2.INDICATOR_KIND_RSI,
    IndicatorKind.EMA: indicator_pb2.INDICATOR_KIND_EMA,
    IndicatorKind.SMA: indicator_pb2.INDICATOR_KIND_SMA,
    IndicatorKind.MACD: indicator_pb2.INDICATOR_KIND_MACD,
    IndicatorKind.BOLLINGER: indicator_pb2.INDICATOR_KIND_BOLLINGER,
    IndicatorKind.ATR: indicator_pb2.INDICATOR_KIND_ATR,
}
_KINDS_FROM_PB = {value: kind for kind, value in _KINDS.items()}
_CUSTOMARY_PERIODS = {IndicatorKind.RSI: 14, IndicatorKind.ATR: 14}


def indicator_from_pb(message: indicator_pb2.Indicator, field: str) -> Indicator:
    """The indicator with every parameter filled in.

    Raises FieldViolations, which names the parameter below ``field``, where one makes no sense.
    """
    kind = _KINDS_FROM_PB[message.kind]
    if kind is IndicatorKind.MACD:
        periods = message.fast_period or 12, message.slow_period or 26, message.signal_period or 9
        indicator = Indicator(kind, 0, *periods)
    else:
        deviations = (message.deviations or 2.0) if kind is IndicatorKind.BOLLINGER else 0.0
        indicator = Indicator(kind, message.period or _CUSTOMARY_PERIODS.get(kind, 20), deviations=deviations)
    if indicator.problem is not None:
        name, problem = indicator.problem
        raise FieldViolations({f"{field}.{name}": problem})
    return indicator


def indicators_from_pb(messages: Iterable[indicator_pb2.Indicator]) -> list[Indicator]:
    """The indicators of a request. Raises FieldViolations."""
    return [indicator_from_pb(message, f"indicators[{index}]") for index, message in enumerate(messages)]


def indicator_to_pb(indicator: Indicator) -> indicator_pb2.Indicator:
    return indicator_pb2.Indicator(
        kind=_KINDS[indicator.kind],
        period=indicator.period,
        fast_period=indicator.fast_period,
        slow_period=indicator.slow_period,
        signal_period=indicator.signal_period,
        deviations=indicator.deviations,
    )


def series_to_pb(
    symbol: str, interval: "candle_pb2.Interval.ValueType", indicator: Indicator, points: Sequence[Point]
) -> indicator_pb2.IndicatorSeries:
    return indicator_pb2.IndicatorSeries(
        symbol=symbol,
        interval=interval,
        indicator=indicator_to_pb(indicator),
        points=(
            indicator_pb2.IndicatorPoint(open_time=timestamps.to_pb(point.open_time), values=_plain(point.values))
            for point in points
        ),
    )


def _plain(values: Mapping[str, float]) -> dict[str, float]:
    return dict(values)
