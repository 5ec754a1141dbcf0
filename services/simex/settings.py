"""The settings of simex, read from ``SIMEX_*`` environment variables."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import SettingsConfigDict

from services.runtime.secret_files import SettingsWithSecrets

SymbolName = Annotated[str, Field(pattern=r"^[A-Z0-9]+-[A-Z0-9]+$")]
Positive = Annotated[Decimal, Field(gt=0)]


def _as_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


class SimexSettings(SettingsWithSecrets):
    """What market simex makes, where it listens and who may trade on it."""

    model_config = SettingsConfigDict(env_prefix="SIMEX_", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 15080
    """Port of REST and websocket alike; 0 takes a free one."""
    seed: Annotated[int, Field(ge=0)] = 7
    """Seed of everything random: the same seed (or files) gives the same trades, ids included."""
    symbols: dict[SymbolName, Positive] = Field(default={"BTC-USDT": Decimal(60000), "ETH-USDT": Decimal(2500)})
    """Symbols of the stochastic market with their first prices, as JSON. A replay takes its symbols from the files."""
    history_days: Annotated[int, Field(ge=0, le=3650)] = 60
    """Days of stochastic history before the first start."""
    replay_dir: Path | None = None
    """Folder (or one file) of Parquet candles or trades to replay in place of the stochastic market."""
    replay_start: Annotated[datetime, AfterValidator(_as_utc)] | None = None
    """Where a replay begins, in UTC; by default after 80 % of the span of its files."""
    speed: Annotated[float, Field(gt=0, le=100_000)] = 1.0
    """How many times faster than real time the exchange's clock runs."""
    state_dir: Path | None = None
    """Folder that keeps orders, fills, balances and the clock; without it they last as long as the process."""
    api_key: SecretStr | None = None
    """API key of the one account; without key and secret every signed request is refused."""
    api_secret: SecretStr | None = None
    """Secret that signs the account's requests (HMAC-SHA256)."""
    balances: dict[str, Annotated[Decimal, Field(ge=0)]] = Field(default={"USDT": Decimal(100_000)})
    """What the account owns at its first start, by asset, as JSON."""
    maker_fee: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.001")
    """Commission of an order that waited in the book, as a fraction of what it receives."""
    taker_fee: Annotated[Decimal, Field(ge=0, lt=1)] = Decimal("0.001")
    """Commission of an order that took from the book, as a fraction of what it receives."""
    tick_seconds: Annotated[float, Field(gt=0, le=1)] = 0.05
    """Real time between two rounds of websocket events."""
    log_level: str = "INFO"
    """Lowest level that is logged."""
