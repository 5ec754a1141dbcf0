"""``levimesh md``: market data, and what is missing in it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal

from levimesh.marketdata.v1 import candle_pb2, quality_pb2, source_pb2, stream_pb2, symbol_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.marketdata.v1 import quality_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_service_pb2 as symbol_pb
from tests.edge import Edge
from tests.unit.cli.conftest import Levimesh, complaint

BTC = "BTC-USDT@simex"
JOB = "11111111-1111-4111-8111-111111111111"
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


def at(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def asked(edge: Edge, method: str) -> Any:
    """The only request to ``method``."""
    (request,) = [call.request for call in edge.calls if call.method == method]
    return request


def a_symbol(**fields: Any) -> symbol_pb2.Symbol:
    return symbol_pb2.Symbol(
        symbol=BTC,
        source="simex",
        source_symbol="BTC/USDT",
        asset_type=symbol_pb2.ASSET_TYPE_CRYPTO,
        state=symbol_pb2.SYMBOL_STATE_ACTIVE,
        price_step=Decimal(value="0.01"),
        quantity_step=Decimal(value="0.00001"),
        min_notional=Decimal(value="5"),
        version=3,
        **fields,
    )


def test_a_source_that_is_down_says_why(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListSources"] = lambda _: pb.ListSourcesResponse(
        sources=[
            source_pb2.Source(source="simex", kind=source_pb2.SOURCE_KIND_EXCHANGE, state=source_pb2.SOURCE_STATE_LIVE),
            source_pb2.Source(source="ecb", state=source_pb2.SOURCE_STATE_DOWN, problem="it did not answer; check it"),
        ]
    )

    result = levimesh("md", "sources")

    assert result.exit_code == 0, result.output
    assert "exchange" in result.stdout
    assert "ecb: it did not answer; check it" in result.stdout


def test_symbols_are_filtered_by_the_mesh(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListSymbols"] = lambda _: market_pb.ListSymbolsResponse(symbols=[a_symbol(book_depth=20)])

    result = levimesh("md", "symbols", "--source", "simex", "--state", "inactive")

    request = asked(edge, "ListSymbols")
    assert (request.source, request.state) == ("simex", symbol_pb2.SYMBOL_STATE_INACTIVE)
    assert "crypto" in result.stdout


def test_only_what_is_given_is_changed(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["UpdateSymbol"] = lambda _: symbol_pb.UpdateSymbolResponse(symbol=a_symbol())

    result = levimesh("md", "change", "btc-usdt@simex", "--price-step", "0.01", "--book-depth", "0")

    request = asked(edge, "UpdateSymbol")
    assert list(request.update_mask.paths) == ["price_step", "book_depth"]
    assert (request.symbol, request.price_step.value, request.book_depth) == (BTC, "0.01", 0)
    assert "3, since" in result.stdout


def test_a_change_of_nothing_is_a_mistake(levimesh: Levimesh) -> None:
    result = levimesh("md", "change", BTC)

    assert result.exit_code == 2
    assert "say what is to change" in complaint(result)


def test_a_market_is_added_with_the_rules_of_its_source(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateSymbol"] = lambda _: symbol_pb.CreateSymbolResponse(symbol=a_symbol())

    assert levimesh("md", "add", BTC).exit_code == 0

    request = asked(edge, "CreateSymbol")
    assert not request.HasField("price_step")
    assert not request.HasField("book_depth")


@pytest.mark.parametrize("verb", ["activate", "deactivate"])
def test_a_symbol_changes_its_state(edge: Edge, levimesh: Levimesh, verb: str) -> None:
    method = f"{verb.capitalize()}Symbol"
    response = getattr(symbol_pb, f"{method}Response")
    edge.answers[method] = lambda _: response(symbol=a_symbol())

    assert levimesh("md", verb, BTC).exit_code == 0
    assert asked(edge, method).symbol == BTC


def test_gaps_tell_which_trades_are_missing(edge: Edge, levimesh: Levimesh) -> None:
    gap = quality_pb2.DataGap(
        symbol=BTC,
        channel=stream_pb2.CHANNEL_TRADES,
        first_trade_id="10",
        last_trade_id="99",
        state=quality_pb2.GAP_STATE_NOT_AT_SOURCE,
        start_time=at(NOON),
        end_time=at(NOON + timedelta(minutes=1)),
    )
    edge.answers["ListGaps"] = lambda _: pb.ListGapsResponse(gaps=[gap])

    result = levimesh("md", "gaps", "--symbol", BTC, "--state", "not-at-source")

    assert asked(edge, "ListGaps").state == quality_pb2.GAP_STATE_NOT_AT_SOURCE
    assert "10 to 99" in result.stdout
    assert "not at source" in result.stdout


def a_job(state: "quality_pb2.BackfillState.ValueType", **fields: Any) -> quality_pb2.BackfillJob:
    return quality_pb2.BackfillJob(
        backfill_job_id=JOB,
        symbol=BTC,
        channel=stream_pb2.CHANNEL_CANDLES,
        interval=candle_pb2.INTERVAL_5M,
        start_time=at(NOON),
        end_time=at(NOON + timedelta(hours=1)),
        state=state,
        **fields,
    )


def test_a_backfill_is_watched_until_it_is_done(edge: Edge, levimesh: Levimesh) -> None:
    states = iter(
        [
            a_job(quality_pb2.BACKFILL_STATE_RUNNING, position=at(NOON + timedelta(minutes=30))),
            a_job(quality_pb2.BACKFILL_STATE_DONE, fetched_rows=12, new_rows=5),
        ]
    )
    edge.answers["CreateBackfillJob"] = lambda _: pb.CreateBackfillJobResponse(
        backfill_job=a_job(quality_pb2.BACKFILL_STATE_WAITING)
    )
    edge.answers["GetBackfillJob"] = lambda _: pb.GetBackfillJobResponse(backfill_job=next(states))

    result = levimesh("md", "backfill", BTC, "--start", "2024-08-08T12:00", "--interval", "5m", "--job", JOB)

    request = asked(edge, "CreateBackfillJob")
    assert (request.channel, request.interval) == (stream_pb2.CHANNEL_CANDLES, candle_pb2.INTERVAL_5M)
    assert not request.HasField("end_time")
    assert "12 rows, 5 of them new" in result.stdout
    assert "100 %" in result.stdout


def test_a_backfill_that_fails_fails_the_command(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateBackfillJob"] = lambda _: pb.CreateBackfillJobResponse(
        backfill_job=a_job(quality_pb2.BACKFILL_STATE_FAILED, problem="the source has no past trades")
    )

    result = levimesh("md", "backfill", BTC, "--start", "2024-08-08")

    assert result.exit_code == 1
    assert "the source has no past trades" in result.stderr
    assert asked(edge, "CreateBackfillJob").channel == stream_pb2.CHANNEL_TRADES


def test_what_is_no_id_of_a_backfill_is_a_mistake(levimesh: Levimesh) -> None:
    result = levimesh("md", "cancel", "tomorrow")

    assert result.exit_code == 2
    assert "no id of a backfill" in complaint(result)


def test_candles_that_differ_fail_the_verification(edge: Edge, levimesh: Levimesh) -> None:
    ours = candle_pb2.Candle(open_time=at(NOON), close=Decimal(value="100"))
    theirs = candle_pb2.Candle(open_time=at(NOON), close=Decimal(value="101"))
    edge.answers["VerifyCandles"] = lambda _: pb.VerifyCandlesResponse(
        compared=3,
        equal=1,
        differences=[
            quality_pb2.CandleDifference(ours=ours, theirs=theirs, fields=["close"]),
            quality_pb2.CandleDifference(theirs=candle_pb2.Candle(open_time=at(NOON + timedelta(minutes=5)))),
        ],
    )

    result = levimesh("md", "verify", BTC, "--start", "2024-08-08T12:00", "--end", "2024-08-08T12:15")

    assert result.exit_code == 1
    assert "1 of 3 candles are equal" in result.stdout
    assert result.stdout.splitlines()[3].split()[-2:] == ["100", "101"]
    assert result.stdout.splitlines()[4].split()[-2:] == ["missing", "there"]


def test_rows_in_quarantine_are_shown_with_what_is_wrong(edge: Edge, levimesh: Levimesh) -> None:
    row = quality_pb2.QuarantinedRow(
        row_id=7,
        symbol=BTC,
        reason=quality_pb2.QUARANTINE_REASON_CANDLE_RANGE,
        detail="high 99 is below low 100",
        raw=json.dumps({"h": "99"}),
    )
    edge.answers["ListQuarantinedRows"] = lambda _: pb.ListQuarantinedRowsResponse(rows=[row])

    result = levimesh("md", "quarantine", "--reason", "candle-range", "--replayed")

    request = asked(edge, "ListQuarantinedRows")
    assert (request.reason, request.include_replayed) == (quality_pb2.QUARANTINE_REASON_CANDLE_RANGE, True)
    assert "candle range" in result.stdout
    assert '{"h": "99"}' in result.stdout


def test_a_replay_tells_what_became_of_each_row(edge: Edge, levimesh: Levimesh) -> None:
    refused = quality_pb2.QuarantinedRow(row_id=8, reason=quality_pb2.QUARANTINE_REASON_PRICE, detail="price is 0")
    edge.answers["ReplayQuarantinedRows"] = lambda _: pb.ReplayQuarantinedRowsResponse(
        taken_in=[7], refused=[refused], not_found=[9]
    )

    result = levimesh("md", "replay", "7", "8", "9")

    assert result.stdout.splitlines() == [
        "1 of 3 rows are taken in.",
        "row 8 stays: price, price is 0",
        "there is no row 9",
    ]


def test_the_report_is_written_where_it_is_wanted(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    edge.answers["RenderQualityReport"] = lambda _: pb.RenderQualityReportResponse(
        page=HttpBody(content_type="text/html", data=b"<!doctype html>")
    )
    written = tmp_path / "report.html"

    result = levimesh("md", "quality", BTC, "--start", "2024-08-08", "--output", str(written))

    assert result.exit_code == 0, result.output
    assert written.read_bytes() == b"<!doctype html>"


def test_tickers_are_watched(edge: Edge, levimesh: Levimesh) -> None:
    ticker = trade_pb2.Ticker(symbol=BTC, last_price=Decimal(value="61250.50"), last_trade_time=at(NOON))
    edge.answers["ListSymbols"] = lambda _: market_pb.ListSymbolsResponse(symbols=[a_symbol()])
    edge.answers["StreamMarketData"] = lambda request: iter(
        [
            subscribed(request, stream_pb2.SUBSCRIPTION_STATUS_SUBSCRIBED),
            market_pb.StreamMarketDataResponse(tickers=trade_pb2.TickerBatch(tickers=[ticker])),
        ]
    )

    result = levimesh("md", "watch", "--for", "1")

    assert result.exit_code == 0, result.output
    assert "61250.5" in result.stdout
    (instrument,) = edge.calls[-1].request.instruments
    assert (instrument.channel, instrument.symbol) == (stream_pb2.CHANNEL_TICKERS, BTC)


def test_a_symbol_that_is_not_known_is_not_waited_for(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["StreamMarketData"] = lambda request: iter(
        [subscribed(request, stream_pb2.SUBSCRIPTION_STATUS_SYMBOL_NOT_FOUND)]
    )

    result = levimesh("md", "watch", "XRP-USDT@simex", "--for", "5")

    assert result.exit_code == 1
    assert "XRP-USDT@simex: symbol not found" in result.stderr


def subscribed(
    request: market_pb.StreamMarketDataRequest, status: "stream_pb2.SubscriptionStatus.ValueType"
) -> market_pb.StreamMarketDataResponse:
    """What became of the instruments of ``request``."""
    results = [stream_pb2.SubscriptionResult(instrument=each, status=status) for each in request.instruments]
    return market_pb.StreamMarketDataResponse(results=stream_pb2.SubscriptionResults(results=results))
