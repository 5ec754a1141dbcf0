"""Reports on the quality of data between protobuf and the domain."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from levimesh.marketdata.v1 import quality_pb2
from services.marketdata.converters.gaps import gap_to_pb
from services.marketdata.converters.market import interval_to_pb
from services.marketdata.converters.quarantine import reason_to_pb
from services.marketdata.domain.quality import CandleCount, Latency, Quality
from services.runtime import timestamps


def report_to_pb(quality: Quality) -> quality_pb2.QualityReport:
    return quality_pb2.QualityReport(
        symbol=quality.symbol,
        start_time=timestamps.to_pb(quality.span.start),
        end_time=timestamps.to_pb(quality.span.end),
        coverage=(_coverage(quality, count) for count in quality.candles),
        trades=quality.trades,
        gaps=map(gap_to_pb, quality.gaps),
        quarantine=(
            quality_pb2.QuarantineCount(reason=reason_to_pb(reason), rows=rows)
            for reason, rows in quality.quarantine.items()
        ),
        latency=None if quality.latency is None else _latency(quality.latency),
    )


def _coverage(quality: Quality, count: CandleCount) -> quality_pb2.Coverage:
    return quality_pb2.Coverage(
        interval=interval_to_pb(count.interval),
        expected=quality.span.expected(count.interval),
        stored=count.stored,
        from_trades=count.from_trades,
        corrected=count.corrected,
    )


def _latency(latency: Latency) -> quality_pb2.LatencySummary:
    return quality_pb2.LatencySummary(
        p50=_duration(latency.p50), p90=_duration(latency.p90), p99=_duration(latency.p99), max=_duration(latency.max)
    )


def _duration(length: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(length)
    return message
