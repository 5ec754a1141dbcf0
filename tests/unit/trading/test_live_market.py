"""When the market's prices may be traded on."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.trading.adapters.marketdata import LiveMarket
from services.trading.domain.markets import Price
from services.trading.errors import MarketDataUnavailable, StaleMarketData, SymbolNotFound
from tests.unit.trading.builders import BTC, ETH, NOW, SYMBOLS, a_trade

A_SECOND = timedelta(seconds=1)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def market(clock: Clock) -> LiveMarket:
    market = LiveMarket(clock, silence=15 * A_SECOND, price_age=60 * A_SECOND)
    market.list_symbols([SYMBOLS[BTC]], [BTC])
    return market


def test_a_market_that_was_never_heard_of_is_stale(market: LiveMarket) -> None:
    market.begin(BTC, Price(Decimal(100), NOW, NOW))

    with pytest.raises(StaleMarketData):
        market.price(BTC)
    assert market.last_prices([BTC]) == {BTC: 100}


def test_the_newest_trade_is_the_price_however_the_market_s_clock_runs(market: LiveMarket) -> None:
    long_ago = datetime(2021, 5, 1, tzinfo=UTC)
    market.begin(BTC, Price(Decimal(100), long_ago + timedelta(days=1), NOW))
    market.trade([a_trade("101"), a_trade("102")])

    assert market.price(BTC).value == 102


def test_a_heartbeat_keeps_a_price_fresh_and_silence_makes_it_stale(market: LiveMarket, clock: Clock) -> None:
    market.trade([a_trade("101")])
    clock.now += 15 * A_SECOND
    market.beat()
    clock.now += 15 * A_SECOND
    assert market.price(BTC).value == 101

    clock.now += A_SECOND
    with pytest.raises(StaleMarketData, match="heard of"):
        market.price(BTC)


def test_a_stream_that_catches_up_is_stale_until_it_is_there(market: LiveMarket) -> None:
    market.beat()
    market.trade([a_trade("90", received_at=NOW - 20 * A_SECOND)])
    with pytest.raises(StaleMarketData):
        market.price(BTC)

    market.trade([a_trade("91", received_at=NOW - A_SECOND)])
    assert market.price(BTC).value == 91


def test_a_symbol_that_has_not_traded_for_long_is_stale_though_the_stream_beats(
    market: LiveMarket, clock: Clock
) -> None:
    market.trade([a_trade("101")])
    clock.now += 61 * A_SECOND
    market.beat()

    with pytest.raises(StaleMarketData, match="has not traded for 60 seconds"):
        market.price(BTC)


def test_a_symbol_that_never_traded_is_stale(market: LiveMarket) -> None:
    market.beat()

    with pytest.raises(StaleMarketData, match="has not traded yet"):
        market.price(BTC)
    with pytest.raises(MarketDataUnavailable):
        market.last_prices([BTC])


def test_an_unknown_symbol_is_told_from_a_market_that_is_not_known_yet(market: LiveMarket, clock: Clock) -> None:
    assert market.symbol(BTC) == SYMBOLS[BTC]
    with pytest.raises(SymbolNotFound):
        market.symbol(ETH)
    with pytest.raises(MarketDataUnavailable):
        LiveMarket(clock, silence=A_SECOND, price_age=A_SECOND).symbol(BTC)


async def test_the_market_is_met_when_it_is_fresh_for_the_first_time(market: LiveMarket) -> None:
    market.trade([a_trade("90", received_at=NOW - 20 * A_SECOND)])
    assert not market.met.is_set()
    with pytest.raises(StaleMarketData):
        await market.ping()

    market.beat()
    assert market.met.is_set()
    await market.ping()


async def test_the_market_is_not_whole_before_every_symbol_has_a_price(market: LiveMarket) -> None:
    market.list_symbols([SYMBOLS[BTC], SYMBOLS[ETH]], [BTC, ETH])
    market.trade([a_trade("101")])

    with pytest.raises(MarketDataUnavailable, match=ETH):
        await market.ping()

    market.begin(ETH, Price(Decimal(100), NOW, NOW))
    await market.ping()


async def test_a_symbol_that_does_not_trade_is_not_waited_for(market: LiveMarket) -> None:
    market.list_symbols([SYMBOLS[BTC], SYMBOLS[ETH]], [BTC])
    market.trade([a_trade("101")])

    await market.ping()
