"""The process of the trading service."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc
from levimesh.prediction.v1 import prediction_service_pb2, prediction_service_pb2_grpc
from levimesh.trading.v1 import trading_service_pb2
from services.runtime.audit_outbox import open_audit_log
from services.runtime.database import open_database
from services.runtime.health import watch
from services.runtime.journal import open_journal
from services.runtime.service import open_runtime
from services.trading.bootstrap import build
from services.trading.settings import TradingSettings

_MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
_PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
_TRADING = trading_service_pb2.DESCRIPTOR.services_by_name["TradingService"]


async def main() -> None:
    """Serve until told to stop."""
    settings = TradingSettings()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database_url))
        audit = await stack.enter_async_context(open_audit_log(settings.database_url, "trading"))
        journal = await stack.enter_async_context(open_journal(settings.redis_url))
        runtime = await stack.enter_async_context(open_runtime("trading", settings, audit))
        await runtime.fetch_keys()
        await runtime.relay_audit()
        marketdata = await runtime.channel(_MARKETDATA, "marketdata", settings.marketdata_target)
        prediction = await runtime.channel(_PREDICTION, "prediction", settings.prediction_target)
        trading = build(
            settings,
            engine,
            journal,
            marketdata_service_pb2_grpc.MarketDataServiceStub(marketdata),
            prediction_service_pb2_grpc.PredictionServiceStub(prediction),
        )
        for name, work in trading.work.items():
            runtime.spawn(name, work)
        for gates, checks in ((True, trading.needs), (False, trading.wants)):
            for name, check in checks.items():
                runtime.spawn(f"{name} health", partial(watch, runtime.health.part(name, gates=gates), check, 1.0))
        await runtime.serve({_TRADING: trading.servicer})


if __name__ == "__main__":
    asyncio.run(main())
