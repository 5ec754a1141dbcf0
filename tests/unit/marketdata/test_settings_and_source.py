"""Settings that make no sense, and exchanges that do not exist, are refused with words."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import ccxt
import pytest
from pydantic import SecretStr, ValidationError

from services.marketdata.adapters.ccxt_exchanges import Preset
from services.marketdata.adapters.ccxt_source import CcxtSource, open_ccxt_source
from services.marketdata.adapters.inspection import Inspection
from services.marketdata.domain.market import AssetType, TakerSide, Trade
from services.marketdata.domain.rules import Retention
from services.marketdata.domain.sequence import Break
from services.marketdata.ports.sources import SourceUnavailable
from services.marketdata.settings import MarketDataSettings
from services.marketdata.source_settings import ExchangeSettings
from services.runtime.clock import utc_now
from tests.marketdata import RefusedRows

FOREVER = Retention(timedelta(days=36_500), timedelta(days=36_500))


def settings(**values: Any) -> MarketDataSettings:
    common: dict[str, Any] = {
        "tls_certificate": Path("a"),
        "tls_private_key": Path("b"),
        "tls_trust_bundle": Path("c"),
        "database_url": SecretStr("d"),
        "redis_url": SecretStr("e"),
    }
    return MarketDataSettings(**(common | values))


def test_symbols_are_written_with_commas() -> None:
    assert settings(symbols="BTC-USDT, ETH-USDT,").symbols == ("BTC-USDT", "ETH-USDT")
    assert settings(symbols="").symbols == ()


@pytest.mark.parametrize(
    "wrong",
    [{"symbols": "BTC/USDT"}, {"source": "Sim-Ex"}, {"base_url": "127.0.0.1:15080"}, {"candles_kept_days": 100}],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        settings(**wrong)


@pytest.mark.parametrize(
    ("exchange", "problem"), [("nonesuch", "no exchange of this name"), ("coincheck", "no candles")]
)
async def test_an_exchange_that_cannot_be_followed_is_refused(exchange: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        async with open_ccxt_source(ExchangeSettings(name="x", exchange=exchange), RefusedRows(), FOREVER):
            pass


async def test_nobody_listens_at_the_address_is_said_with_what_to_do() -> None:
    settings = ExchangeSettings(name="simex", exchange="binance", base_url="http://127.0.0.1:9", symbols=("BTC-USDT",))
    async with open_ccxt_source(settings, RefusedRows(), FOREVER) as source:
        with pytest.raises(SourceUnavailable, match="check that it runs"):
            await source.now()


@dataclass
class FakeExchange:
    """What CcxtSource uses of an exchange of ccxt."""

    id: str = "fake"
    has: dict[str, bool] = field(default_factory=lambda: {"fetchTime": False})
    timeframes: dict[str, str] = field(default_factory=dict)
    precisionMode: int = ccxt.TICK_SIZE  # noqa: N815 - ccxt's name
    markets: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    trades: dict[str, Any] = field(default_factory=dict)
    """What it keeps of the markets; nothing, as all that comes is taken."""

    async def load_markets(self, reload: bool) -> dict[str, Any]:
        assert reload
        return self.markets

    async def fetch_trades(self, symbol: str) -> list[dict[str, Any]]:
        assert symbol in self.markets
        return self.rows

    async def watch_trades(self, symbol: str) -> list[dict[str, Any]]:
        assert symbol in self.markets
        return self.rows


def a_source(exchange: FakeExchange, *symbols: str, quarantine: RefusedRows | None = None) -> CcxtSource:
    settings = ExchangeSettings(name="fake", exchange="fake", symbols=symbols)
    inspection = Inspection(
        "fake", AssetType.CRYPTO, quarantine or RefusedRows(), FOREVER, settings.future_tolerance, utc_now
    )
    return CcxtSource(exchange, settings, Preset(), inspection, utc_now)


def a_market(name: str, price: Any = "0.01", amount: Any = "0.1", **values: Any) -> dict[str, Any]:
    base, quote = name.split("/")
    market = {
        "symbol": name,
        "base": base,
        "quote": quote,
        "spot": True,
        "active": True,
        "precision": {"price": price, "amount": amount},
        "limits": {"cost": {"min": None}},
    }
    return market | values


def a_row(number: int, **values: Any) -> dict[str, Any]:
    return {"id": str(number), "price": "1.50", "amount": "2", "side": "sell", "timestamp": 1_000 * number} | values


@pytest.mark.parametrize(
    ("mode", "precision", "step"),
    [
        (ccxt.TICK_SIZE, "0.05000", "0.05"),
        (ccxt.DECIMAL_PLACES, 3, "0.001"),
        (ccxt.SIGNIFICANT_DIGITS, 5, "0.00000001"),
        (ccxt.TICK_SIZE, None, "0.00000001"),
    ],
)
async def test_the_step_of_prices_is_read_in_each_of_the_ways_that_exchanges_tell_it(
    mode: int, precision: Any, step: str
) -> None:
    exchange = FakeExchange(precisionMode=mode, markets={"A/B": a_market("A/B", precision, precision)})
    (symbol,) = await a_source(exchange, "A-B").symbols()
    assert (symbol.price_step, symbol.quantity_step, symbol.min_notional) == (Decimal(step), Decimal(step), Decimal(0))


async def test_without_names_all_active_spot_markets_are_followed_unless_they_are_too_many() -> None:
    markets = {"A/B": a_market("A/B"), "C/D": a_market("C/D", spot=False), "E/F": a_market("E/F", active=False)}
    (symbol,) = await a_source(FakeExchange(markets=markets)).symbols()
    assert symbol.symbol == "A-B@fake"

    many = {f"A{number}/B": a_market(f"A{number}/B") for number in range(51)}
    with pytest.raises(SourceUnavailable, match="name some in MARKETDATA_SYMBOLS"):
        await a_source(FakeExchange(markets=many)).symbols()


async def test_an_exchange_that_does_not_tell_the_time_shows_it_by_its_newest_trade() -> None:
    exchange = FakeExchange(has={"fetchTime": False}, markets={"A/B": a_market("A/B")}, rows=[a_row(7), a_row(6)])
    source = a_source(exchange, "A-B")
    assert await source.now() == datetime.fromtimestamp(7, UTC)

    exchange.rows = []
    with pytest.raises(SourceUnavailable, match="neither tells its time nor has trades"):
        await source.now()


@pytest.mark.parametrize(
    "wrong", [{"id": None}, {"price": "0"}, {"amount": "-1"}, {"price": None}, {"price": "x"}, {"timestamp": None}]
)
async def test_in_place_of_a_trade_that_is_not_sound_stands_a_break(wrong: dict[str, Any]) -> None:
    exchange = FakeExchange(markets={"A/B": a_market("A/B")}, rows=[a_row(1), a_row(2, **wrong), a_row(3)])
    source = a_source(exchange, "A-B")
    (symbol,) = await source.symbols()
    first, second, third = await source.trades(symbol)
    assert isinstance(first, Trade)
    assert first == Trade(
        "A-B@fake", "1", Decimal("1.5"), Decimal(2), TakerSide.SELL, datetime.fromtimestamp(1, UTC), first.receive_time
    )
    assert second == Break()
    assert isinstance(third, Trade)


def listed_sources(**values: object) -> list[str]:
    """The names of the sources of these settings."""
    return [source.name for source in settings(**values).all_sources()]


def test_more_sources_follow_the_one_that_the_settings_describe_and_replace_it_if_nothing_describes_it() -> None:
    more = '[{"kind": "exchange", "exchange": "okx"}, {"kind": "ecb"}]'
    assert listed_sources() == ["simex"]
    assert listed_sources(sources=more) == ["okx", "ecb"]
    assert listed_sources(sources=more, symbols="BTC-USDT") == ["simex", "okx", "ecb"]


def test_sources_of_a_file_come_last_and_no_name_comes_twice(tmp_path: Path) -> None:
    listed = tmp_path / "sources.yaml"
    listed.write_text("- kind: exchange\n  exchange: kraken\n- kind: ecb\n")
    assert listed_sources(sources='[{"kind": "exchange", "exchange": "okx"}]', sources_file=listed) == [
        "okx",
        "kraken",
        "ecb",
    ]
    with pytest.raises(ValueError, match="several sources are called kraken"):
        listed_sources(source="kraken", sources_file=listed)
