"""IngestService: wire in, wire out."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from levimesh.marketdata.v1 import ingest_service_pb2 as pb
from levimesh.marketdata.v1 import ingest_service_pb2_grpc as pb_grpc
from services.marketdata.converters import ingest as convert
from services.marketdata.feeding.ingestion import acknowledged
from services.marketdata.use_cases.ingest import IngestTrades

Context = grpc.aio.ServicerContext[Any, Any]


class IngestServicer(pb_grpc.IngestServiceServicer):
    """See the contract."""

    def __init__(self, ingest: IngestTrades) -> None:
        self._ingest = ingest

    async def IngestTrades(
        self, requests: AsyncIterator[pb.IngestTradesRequest], context: Context
    ) -> AsyncIterator[pb.IngestTradesResponse]:
        batches = (convert.batch_from_pb(request) async for request in requests)
        async for event in acknowledged(batches, self._ingest):
            yield convert.response_to_pb(event)
