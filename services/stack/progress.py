"""How far a mesh is that fills its history and trains its first model."""

import asyncio
from dataclasses import dataclass
from functools import partial

import grpc

from levimesh.marketdata.v1 import candle_pb2, marketdata_service_pb2, marketdata_service_pb2_grpc
from levimesh.prediction.v1 import model_pb2, prediction_service_pb2, prediction_service_pb2_grpc
from services.runtime.channels import open_channel
from services.runtime.workload import WorkloadFiles

_MARKETDATA = marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"]
_PREDICTION = prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"]
_SECONDS = 0.5


@dataclass(frozen=True)
class Step:
    """A piece of the work."""

    what: str
    fraction: float
    """0 to 1."""
    note: str = ""
    settled: bool = False
    """Nothing more will happen: it is done, or has failed for now."""


class Progress:
    """The steps as marketdata and prediction tell them, until all are done."""

    def __init__(self, marketdata: str, prediction: str, files: WorkloadFiles) -> None:
        self.steps: list[Step] = []
        self.settled = asyncio.Event()
        """Set when history and model are as good as they get for now."""
        self._marketdata = partial(open_channel, _MARKETDATA, "marketdata", marketdata, files)
        self._prediction = partial(open_channel, _PREDICTION, "prediction", prediction, files)

    async def follow(self) -> None:
        """Ask again and again until nothing is left to do."""
        history: list[Step] = []
        training: list[Step] = []
        async with self._marketdata() as marketdata, self._prediction() as prediction:
            backfills = marketdata_service_pb2_grpc.MarketDataServiceStub(marketdata)
            trainings = prediction_service_pb2_grpc.PredictionServiceStub(prediction)
            while not self.settled.is_set():
                try:
                    listed = await backfills.ListBackfills(marketdata_service_pb2.ListBackfillsRequest())
                    history = [_backfill(each) for each in listed.backfills]
                    answer = await trainings.GetTraining(prediction_service_pb2.GetTrainingRequest())
                    training = [_training(answer.training)]
                    if history and all(step.settled for step in history + training):
                        self.settled.set()
                except grpc.aio.AioRpcError:
                    # Not up yet, or just restarting; what is known so far is still true.
                    pass
                self.steps = history + training
                await asyncio.sleep(_SECONDS)


def _backfill(backfill: candle_pb2.Backfill) -> Step:
    interval = candle_pb2.Interval.Name(backfill.interval).removeprefix("INTERVAL_").lower()
    fraction = 1.0 if backfill.complete else min(0.99, backfill.stored_candles / max(1, backfill.total_candles))
    return Step(
        f"history {backfill.symbol} {interval}", fraction, f"{backfill.stored_candles:,} candles", backfill.complete
    )


def _training(training: model_pb2.Training) -> Step:
    done = training.state in {model_pb2.TRAINING_STATE_SUCCEEDED, model_pb2.TRAINING_STATE_UNSPECIFIED}
    failed = training.state == model_pb2.TRAINING_STATE_FAILED
    note = training.failure or training.model_version or training.stage
    return Step("first model", 1.0 if done else training.fraction, note, done or failed)
