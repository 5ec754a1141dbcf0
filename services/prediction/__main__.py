"""The process of the prediction service."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

from levimesh.marketdata.v1 import marketdata_service_pb2, marketdata_service_pb2_grpc
from levimesh.prediction.v1 import prediction_service_pb2
from services.prediction.bootstrap import build
from services.prediction.settings import PredictionSettings
from services.runtime.audit_outbox import open_audit_log
from services.runtime.database import open_database
from services.runtime.health import watch
from services.runtime.journal import open_journal
from services.runtime.service import open_runtime

_MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
_PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]


async def main() -> None:
    """Serve until told to stop."""
    settings = PredictionSettings()
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(open_database(settings.database_url))
        audit = await stack.enter_async_context(open_audit_log(settings.database_url, "prediction"))
        journal = await stack.enter_async_context(open_journal(settings.redis_url))
        runtime = await stack.enter_async_context(open_runtime("prediction", settings, audit))
        await runtime.fetch_keys()
        await runtime.relay_audit()
        marketdata = await runtime.channel(_MARKETDATA, "marketdata", settings.marketdata_target)
        prediction = build(settings, engine, journal, marketdata_service_pb2_grpc.MarketDataServiceStub(marketdata))
        for name, work in prediction.work.items():
            runtime.spawn(name, work)
        for gates, checks in ((True, prediction.needs), (False, prediction.wants)):
            for name, check in checks.items():
                runtime.spawn(f"{name} health", partial(watch, runtime.health.part(name, gates=gates), check, 1.0))
        await runtime.serve({_PREDICTION: prediction.servicer})


if __name__ == "__main__":
    asyncio.run(main())
