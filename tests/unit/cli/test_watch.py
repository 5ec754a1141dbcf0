"""``levimesh watch`` and ``signals``: what the streams tell."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal

from levimesh.auth.v1 import user_service_pb2
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.marketdata.v1 import symbol_pb2, trade_pb2
from levimesh.prediction.v1 import prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as prediction_pb
from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as trading_pb
from tests.edge import Aborted, Edge
from tests.unit.cli.conftest import Levimesh

MIDNIGHT = Timestamp(seconds=1_723_161_600)  # 2024-08-09 00:00 UTC
TRADE = trade_pb2.Trade(
    symbol="BTC-USDT@simex", price=WireDecimal(value="61250.10"), quantity=WireDecimal(value="0.5"), trade_time=MIDNIGHT
)
SIGNAL = prediction_pb2.Signal(
    prediction=prediction_pb2.Prediction(
        symbol="BTC-USDT@simex",
        candle_close_time=MIDNIGHT,
        direction=prediction_pb2.DIRECTION_UP,
        probability_up=0.5312,
        close=WireDecimal(value="61250.1"),
    )
)
ORDER = order_pb2.Order(
    symbol="BTC-USDT@simex",
    side=order_pb2.SIDE_BUY,
    quantity=WireDecimal(value="0.01"),
    status=order_pb2.ORDER_STATUS_FILLED,
    strategy="signal-follower",
)


@pytest.fixture(autouse=True)
def streams(edge: Edge) -> None:
    """Each stream tells one thing, and then waits."""

    def telling(*responses: Any) -> Any:
        def answer(_: Any) -> Iterator[Any]:
            yield from responses
            edge.stopped.wait()

        return answer

    trades = market_pb.StreamTradesResponse(trades=trade_pb2.TradeBatch(trades=[TRADE]))
    gap = prediction_pb.StreamSignalsResponse(gap=streaming_pb2.Gap(cause=streaming_pb2.GAP_CAUSE_RETENTION))
    signals = prediction_pb.StreamSignalsResponse(signals=prediction_pb2.SignalBatch(signals=[SIGNAL]))
    orders = trading_pb.StreamOrdersResponse(orders=order_pb2.OrderBatch(orders=[ORDER]))
    edge.answers["StreamTrades"] = telling(trades)
    edge.answers["StreamSignals"] = telling(gap, signals)
    edge.answers["StreamOrders"] = telling(orders)
    ticker = trade_pb2.Ticker(
        symbol="ETH-USDT@simex",
        last_price=WireDecimal(value="2541.39"),
        last_quantity=WireDecimal(value="2"),
        last_trade_time=MIDNIGHT,
    )
    symbols = [symbol_pb2.Symbol(symbol="ETH-USDT@simex")]
    edge.answers["ListSymbols"] = lambda _: market_pb.ListSymbolsResponse(symbols=symbols)
    edge.answers["GetTicker"] = lambda _: market_pb.GetTickerResponse(ticker=ticker)
    edge.answers["ListOrders"] = lambda _: trading_pb.ListOrdersResponse()
    edge.answers["GetCurrentUser"] = lambda _: user_service_pb2.GetCurrentUserResponse()


def test_prices_signals_and_orders_are_shown_for_a_while(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("watch", "--for", "1")

    assert result.exit_code == 0
    shown = " ".join(result.stdout.split())
    assert "BTC-USDT@simex 61250.1 0.5 2024-08-09 00:00:00" in shown
    assert "ETH-USDT@simex 2541.39 2 2024-08-09 00:00:00" in shown, "what was newest before the streams began"
    assert "2024-08-09 00:00:00 BTC-USDT@simex UP 0.5312 61250.1" in shown
    assert "BUY 0.01 market filled signal-follower" in shown


def test_a_gateway_that_does_not_run_ends_the_watch_at_once(edge: Edge, levimesh: Levimesh) -> None:
    edge.stop()

    result = levimesh("watch", "--for", "30")

    assert result.exit_code == 1
    assert "is the mesh running?" in result.stderr


def test_a_stream_that_may_not_be_read_ends_the_watch_with_its_error(edge: Edge, levimesh: Levimesh) -> None:
    def refuse(_: Any) -> Any:
        raise Aborted(grpc.StatusCode.PERMISSION_DENIED, "not for you")

    edge.answers["StreamOrders"] = refuse

    result = levimesh("watch", "--for", "30")

    assert result.exit_code == 1
    assert result.stderr == "error: not for you [PERMISSION_DENIED]\n"


def test_signals_are_printed_as_they_come_and_losses_too(edge: Edge, levimesh: Levimesh) -> None:
    def ending(request: Any) -> Iterator[Any]:
        yield prediction_pb.StreamSignalsResponse(gap=streaming_pb2.Gap(cause=streaming_pb2.GAP_CAUSE_RETENTION))
        yield prediction_pb.StreamSignalsResponse(signals=prediction_pb2.SignalBatch(signals=[SIGNAL]))
        raise Aborted(grpc.StatusCode.PERMISSION_DENIED, "enough")

    edge.answers["StreamSignals"] = ending

    lines = levimesh("signals", "btc-usdt@simex").stdout.splitlines()

    assert list(edge.called("StreamSignals")[0].request.symbols) == ["BTC-USDT@simex"]
    assert lines == [
        "(signals were lost)",
        "2024-08-09 00:00:00 BTC-USDT@simex UP P(up) 0.5312 at 61250.1",
    ]
