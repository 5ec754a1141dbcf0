"""The settings of the trading service, read from ``TRADING_…`` variables."""

from decimal import Decimal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.runtime.settings import ServiceSettings


class TradingSettings(ServiceSettings):
    """What can be set from outside."""

    model_config = SettingsConfigDict(env_prefix="TRADING_")

    port: int = Field(default=15054, ge=0, le=65535)
    """Port for gRPC; 0 takes a free one."""

    marketdata_target: str = "127.0.0.1:15052"
    """Where the marketdata service listens."""
    prediction_target: str = "127.0.0.1:15053"
    """Where the prediction service listens."""

    paper_currency: str = "USDT"
    """What a paper account counts in. It trades the symbols that are quoted in it."""
    paper_cash: Decimal = Field(default=Decimal(100_000), ge=0)
    """What a new paper account has of it."""
    taker_fee_bps: Decimal = Field(default=Decimal(15), ge=0, lt=10_000, decimal_places=4)
    """Fee of an order that fills at once on the paper venue, in hundredths of a percent of its notional."""
    maker_fee_bps: Decimal = Field(default=Decimal(10), ge=0, lt=10_000, decimal_places=4)
    """Fee of an order that rested before it filled, in the same unit."""
    slippage_bps: Decimal = Field(default=Decimal(5), ge=0, lt=10_000, decimal_places=4)
    """By how much a market order fills worse than the newest price, in the same unit."""

    market_silence_seconds: float = Field(default=15, gt=0)
    """How long the stream of trades may be silent, or behind, before no order is taken. It beats every ten seconds."""
    price_age_seconds: float = Field(default=300, gt=0)
    """How long, by our clock, a symbol may not have traded before no order on it is taken."""

    strategy_fraction: Decimal = Field(default=Decimal("0.1"), gt=0, le=Decimal("0.95"))
    """The share of the equity that the signal follower spends on a buy."""
    signal_max_age_seconds: float = Field(default=600, gt=0)
    """How much older than the market a signal's candle may be, by the market's clock: two candles of five minutes."""
    signal_silence_seconds: float = Field(default=30, gt=0)
    """How long the stream of signals may be silent before health says so."""
