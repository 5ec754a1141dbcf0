"""PredictionService: wire in, wire out."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import Message

from levimesh.prediction.v1 import prediction_pb2
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.prediction import converters as convert
from services.prediction.domain.trainings import Training
from services.prediction.ports import Registry
from services.prediction.serving import Serving
from services.prediction.use_cases.read_models import GetModel
from services.runtime.broadcast import Broadcast
from services.runtime.journal import Entry
from services.runtime.pagination import decode_number, encode_page_token
from services.runtime.streaming import stream_responses

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 20


@dataclass(frozen=True, kw_only=True)
class PredictionServicer(pb_grpc.PredictionServiceServicer):
    """The methods of the contract."""

    serving: Serving
    registry: Registry
    get_model: GetModel
    training: Callable[[], Training]
    signals: Broadcast

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        return pb.PredictResponse(prediction=convert.prediction_to_pb(self.serving.latest(request.symbol)))

    async def ListModels(self, request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:
        before = decode_number(request.page_token, request)
        page = await self.registry.newest(request.page_size or _PAGE_SIZE, before)
        return pb.ListModelsResponse(
            models=[convert.model_to_pb(model) for model in page.models],
            next_page_token="" if page.next_before is None else encode_page_token([str(page.next_before)], request),
        )

    async def GetModel(self, request: pb.GetModelRequest, context: Context) -> pb.GetModelResponse:
        return pb.GetModelResponse(model=convert.model_to_pb(await self.get_model(request.model_version)))

    async def GetTraining(self, request: pb.GetTrainingRequest, context: Context) -> pb.GetTrainingResponse:
        return pb.GetTrainingResponse(training=convert.training_to_pb(self.training()))

    async def StreamSignals(
        self, request: pb.StreamSignalsRequest, context: Context
    ) -> AsyncIterator[pb.StreamSignalsResponse]:
        for symbol in request.symbols:
            self.serving.check_symbol(symbol)
        subscription = self.signals.subscribe(
            keys=frozenset(request.symbols) or None,
            resume_token=request.resume_token,
            slow_reader=request.slow_reader,
        )
        async for response in stream_responses(subscription, pb.StreamSignalsResponse, _signals_event):
            yield response


def _signals_event(entries: Sequence[Entry]) -> Mapping[str, Message]:
    signals = [prediction_pb2.Signal.FromString(entry.event) for entry in entries]
    return {"signals": prediction_pb2.SignalBatch(signals=signals)}
