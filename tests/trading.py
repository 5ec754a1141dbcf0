"""The real trading service on a real database and Redis, over mTLS, with a market and signals that a test makes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from levimesh.marketdata.v1 import marketdata_service_pb2_grpc
from levimesh.prediction.v1 import prediction_service_pb2_grpc
from levimesh.trading.v1 import trading_service_pb2 as pb
from levimesh.trading.v1 import trading_service_pb2_grpc as pb_grpc
from services.runtime.clock import Clock, utc_now
from services.runtime.database import open_database
from services.runtime.errors import FailedPrecondition
from services.runtime.journal import RedisJournal, open_journal
from services.trading.bootstrap import Trading, build
from services.trading.settings import TradingSettings
from tests.mesh import Served, a_token, bearing, serving
from tests.trader import Trader, until
from tests.trading_sources import BTC, ETH, MARKETDATA, PREDICTION, FakeMarketData, FakePrediction

if TYPE_CHECKING:
    from levimesh.trading.v1.trading_service_pb2_grpc import TradingServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["TradingService"]
ANN, BOB = (f"6f1c1f0e-0000-4000-8000-00000000000{number}" for number in (1, 2))


@dataclass
class World:
    """The surroundings of trading services: they outlive a service that is stopped and started again."""

    database_url: str
    redis_url: str
    certificates: Path
    marketdata: FakeMarketData
    prediction: FakePrediction
    marketdata_served: Served
    prediction_served: Served

    def settings(self, **settings: Any) -> TradingSettings:
        """Settings of a service in this world."""
        folder = self.certificates / "trading"
        values: dict[str, Any] = {
            "port": 0,
            "tls_certificate": folder / "certificate.pem",
            "tls_private_key": folder / "private_key.pem",
            "tls_trust_bundle": self.certificates / "ca.pem",
            "database_url": self.database_url,
            "redis_url": self.redis_url,
            "marketdata_target": self.marketdata_served.target,
            "prediction_target": self.prediction_served.target,
            # The market of the tests beats only once.
            "market_silence_seconds": 120,
            **settings,
        }
        return TradingSettings(**values)

    @asynccontextmanager
    async def trading(
        self,
        *,
        without: Sequence[str] = (),
        now: Clock = utc_now,
        journal: Callable[[RedisJournal], RedisJournal] = lambda journal: journal,
        **settings: Any,
    ) -> AsyncIterator["RunningTrading"]:
        """A running service, whose background work goes on except what is named in ``without``."""
        values = self.settings(**settings)
        async with (
            open_database(values.database_url) as engine,
            open_journal(values.redis_url) as redis,
        ):
            trading = build(
                values,
                engine,
                journal(redis),
                marketdata_service_pb2_grpc.MarketDataServiceStub(
                    self.marketdata_served.channel(MARKETDATA, "trading")
                ),
                prediction_service_pb2_grpc.PredictionServiceStub(
                    self.prediction_served.channel(PREDICTION, "trading")
                ),
                now=now,
            )
            async with serving({SERVICE: trading.servicer}, self.certificates, workload="trading") as served:
                tasks = {
                    name: asyncio.ensure_future(work()) for name, work in trading.work.items() if name not in without
                }
                try:
                    yield RunningTrading(trading, served, tasks)
                finally:
                    failed = [task for task in tasks.values() if task.done()]
                    for task in tasks.values():
                        task.cancel()
                    await asyncio.gather(*tasks.values(), return_exceptions=True)
                for task in failed:
                    task.result()


@dataclass(frozen=True)
class RunningTrading:
    """A trading service and how to call it."""

    trading: Trading
    served: Served
    work: Mapping[str, "asyncio.Future[None]"]
    """The background work by name."""
    _stubs: dict[str, "TradingServiceAsyncStub"] = field(default_factory=dict)

    def user(self, user_id: str = ANN, *roles: str) -> Trader:
        """A user, a trader unless other roles are given."""
        stub = self._stubs.setdefault("gateway", pb_grpc.TradingServiceStub(self.served.channel(SERVICE)))
        return Trader(stub, bearing(a_token(*(roles or ("ROLE_TRADER",)), user_id=user_id)))

    async def meets_the_market(self) -> None:
        """Wait until the service knows the market up to now."""

        async def is_met() -> bool:
            try:
                await self.trading.wants["marketdata"]()
            except FailedPrecondition:
                return False
            return True

        await until(is_met)


@asynccontextmanager
async def a_world(database_url: str, redis_url: str, certificates: Path) -> AsyncIterator[World]:
    """A world in which BTC was last traded at 100 and ETH at 10."""
    marketdata, prediction = FakeMarketData(), FakePrediction()
    marketdata.prices = {BTC: "100.00", ETH: "10.00"}
    async with (
        serving({MARKETDATA: marketdata}, certificates, workload="marketdata") as marketdata_served,
        serving({PREDICTION: prediction}, certificates, workload="prediction") as prediction_served,
    ):
        yield World(database_url, redis_url, certificates, marketdata, prediction, marketdata_served, prediction_served)
