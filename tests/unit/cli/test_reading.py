"""Commands that read: what they ask for, and what they show of it."""

import json
from decimal import Decimal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal

from levimesh.marketdata.v1 import candle_pb2, symbol_pb2, trade_pb2
from levimesh.marketdata.v1 import marketdata_service_pb2 as market_pb
from levimesh.prediction.v1 import model_pb2, prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as prediction_pb
from levimesh.trading.v1 import portfolio_pb2, strategy_pb2
from levimesh.trading.v1 import trading_service_pb2 as trading_pb
from tests.edge import Edge
from tests.unit.cli.conftest import Levimesh, complaint

MIDNIGHT = Timestamp(seconds=1_723_161_600)  # 2024-08-09 00:00 UTC


def exactly(text: str) -> WireDecimal:
    return WireDecimal(value=text)


def a_model() -> model_pb2.Model:
    card = model_pb2.ModelCard(
        kind="lightgbm",
        horizon=Duration(seconds=900),
        metrics=model_pb2.Metrics(auc=0.5002, log_loss=0.693, accuracy=0.5137, hit_rate=0.4915, signal_rate=0.24),
        test=model_pb2.Window(start_time=MIDNIGHT, end_time=MIDNIGHT, rows=5128),
        baselines=[model_pb2.Baseline(name="always up", accuracy=0.5176)],
        features=[model_pb2.FeatureImportance(name="return_36", gain_share=0.1169)],
    )
    return model_pb2.Model(model_version="lightgbm-1", state=model_pb2.MODEL_STATE_ACTIVE, card=card)


def test_symbols_are_shown_with_their_steps(edge: Edge, levimesh: Levimesh) -> None:
    symbol = symbol_pb2.Symbol(symbol="BTC-USDT@simex", source="simex", source_symbol="BTC/USDT")
    symbol.price_step.value, symbol.quantity_step.value, symbol.min_notional.value = "0.01", "0.00001", "5"
    edge.answers["ListSymbols"] = lambda _: market_pb.ListSymbolsResponse(symbols=[symbol])

    line = levimesh("symbols").stdout.splitlines()[-1]

    assert line.split() == ["BTC-USDT@simex", "simex", "(BTC/USDT)", "0.01", "0.00001", "5"]


def test_candles_are_asked_for_by_interval_and_time_and_shown_exactly(edge: Edge, levimesh: Levimesh) -> None:
    candle = candle_pb2.Candle(open_time=MIDNIGHT, origin=candle_pb2.CANDLE_ORIGIN_TRADES)
    for name, value in {"open": "1.10", "high": "1.2", "low": "1", "close": "1.15", "volume": "1234567.00001"}.items():
        getattr(candle, name).value = value
    edge.answers["GetCandles"] = lambda _: market_pb.GetCandlesResponse(candles=[candle])

    result = levimesh("candles", "BTC-USDT@simex", "--interval", "1m", "--limit", "3", "--start", "2024-08-09T02:00+02")

    (call,) = edge.called("GetCandles")
    assert (call.request.interval, call.request.page_size) == (candle_pb2.INTERVAL_1M, 3)
    assert call.request.start_time == MIDNIGHT
    assert not call.request.HasField("end_time")
    numbers = ["1.1", "1.2", "1", "1.15", "1234567.00001"]
    assert result.stdout.splitlines()[-1].split() == ["2024-08-09", "00:00:00", *numbers, "trades"]


def test_a_time_that_is_none_is_refused_before_anything_is_sent(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("candles", "BTC-USDT@simex", "--start", "yesterday")

    assert result.exit_code == 2
    assert "'yesterday' is not a time such as 2024-08-08T23:55" in complaint(result)
    assert edge.calls == []


def test_a_symbol_that_is_none_is_refused_before_anything_is_sent(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("ticker", "bitcoin")

    assert result.exit_code == 2
    assert "'bitcoin' is not a symbol such as BTC-USDT@simex" in complaint(result)
    assert edge.calls == []


def test_a_ticker_is_the_newest_price_and_the_day(edge: Edge, levimesh: Levimesh) -> None:
    ticker = trade_pb2.Ticker(symbol="BTC-USDT@simex", last_price=exactly("61250.10"), last_trade_time=MIDNIGHT)
    edge.answers["GetTicker"] = lambda _: market_pb.GetTickerResponse(ticker=ticker)

    assert "61250.1 at 2024-08-09 00:00:00 UTC" in levimesh("ticker", "btc-usdt@simex").stdout


def test_a_prediction_tells_direction_and_horizon(edge: Edge, levimesh: Levimesh) -> None:
    said = prediction_pb2.Prediction(
        symbol="BTC-USDT@simex",
        horizon=Duration(seconds=900),
        probability_up=0.53,
        direction=prediction_pb2.DIRECTION_UP,
        close=exactly("61250.1"),
    )
    edge.answers["Predict"] = lambda _: prediction_pb.PredictResponse(prediction=said)

    shown = levimesh("predict", "BTC-USDT@simex").stdout

    assert "UP" in shown
    assert "0.5300 in 15 minutes" in shown


def test_models_are_listed_with_their_measures(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListModels"] = lambda _: prediction_pb.ListModelsResponse(models=[a_model()])

    line = levimesh("models").stdout.splitlines()[-1]

    assert line.split() == ["lightgbm-1", "active", "0.5002", "0.6930", "51.37%", "49.15%", "24.00%"]


def test_a_bad_model_is_shown_as_it_is(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["GetModel"] = lambda _: prediction_pb.GetModelResponse(model=a_model())

    shown = " ".join(levimesh("model").stdout.split())

    assert [call.request.model_version for call in edge.called("GetModel")] == ["active"]
    assert "this model 51.37% always up 51.76%" in shown
    assert "return_36 11.69%" in shown
    assert "(5,128 rows)" in shown


def test_a_portfolio_is_readable_and_exact_as_json(edge: Edge, levimesh: Levimesh) -> None:
    owned = portfolio_pb2.Portfolio(
        currency="USDT",
        equity=exactly("99998.7166666666666667"),
        cash=exactly("99402.08136535"),
        initial_cash=exactly("100000"),
        realized_pnl=exactly("0"),
        unrealized_pnl=exactly("-1.2833333333333333"),
        positions=[portfolio_pb2.Position(symbol="BTC-USDT@simex", quantity=exactly("0.010"))],
    )
    edge.answers["GetPortfolio"] = lambda _: trading_pb.GetPortfolioResponse(portfolio=owned)

    shown = levimesh("portfolio").stdout
    told = json.loads(levimesh("portfolio", "--json").stdout)

    assert "99,998.72 USDT" in shown
    assert "+0.00 realized, -1.28 unrealized" in shown
    assert shown.splitlines()[-1].split()[:2] == ["BTC-USDT@simex", "0.01"]
    assert Decimal(told["portfolio"]["equity"]["value"]) == Decimal("99998.7166666666666667")


def test_strategies_are_started_and_stopped_by_name(edge: Edge, levimesh: Levimesh) -> None:
    running = strategy_pb2.Strategy(strategy="signal-follower", state=strategy_pb2.STRATEGY_STATE_RUNNING)
    edge.answers["StartStrategy"] = lambda _: trading_pb.StartStrategyResponse(strategy=running)
    edge.answers["StopStrategy"] = lambda _: trading_pb.StopStrategyResponse(strategy=running)

    assert "running" in levimesh("strategy", "start", "signal-follower").stdout
    levimesh("strategy", "stop", "signal-follower")

    sent = [*edge.called("StartStrategy"), *edge.called("StopStrategy")]
    assert [call.request.strategy for call in sent] == ["signal-follower"] * 2


def test_what_the_mesh_says_is_no_markup(edge: Edge, levimesh: Levimesh) -> None:
    odd = strategy_pb2.Strategy(strategy="odd", description="[red]buys[/] :dollar: [/nothing]")
    edge.answers["ListStrategies"] = lambda _: trading_pb.ListStrategiesResponse(strategies=[odd])

    assert "[red]buys[/] :dollar: [/nothing]" in levimesh("strategy", "list").stdout
