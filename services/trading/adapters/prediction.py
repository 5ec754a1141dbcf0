"""Signals from the prediction service, for the strategies to act on."""

import asyncio
import logging
from datetime import datetime, timedelta

import grpc

from levimesh.client.streams import resume
from levimesh.prediction.v1 import prediction_service_pb2 as pb
from levimesh.prediction.v1 import prediction_service_pb2_grpc as pb_grpc
from services.runtime.clock import Clock
from services.runtime.errors import DependencyUnavailable
from services.trading import converters as convert
from services.trading.ports import Records, Units
from services.trading.use_cases.run_strategies import ActOnSignal

_log = logging.getLogger(__name__)

SIGNALS = "signals"
"""The name of the cursor into the signals."""


class SignalFeed:
    """Hands every signal to the strategies, and remembers in the database which was the last."""

    def __init__(
        self,
        prediction: "pb_grpc.PredictionServiceAsyncStub",
        records: Records,
        units: Units,
        act_on_signal: ActOnSignal,
        now: Clock,
        *,
        silence: timedelta,
    ) -> None:
        self._prediction = prediction
        self._records = records
        self._units = units
        self._act_on_signal = act_on_signal
        self._now = now
        self._silence = silence
        self._heard_at: datetime | None = None

    async def follow(self, market_met: asyncio.Event) -> None:
        """Follow the signals for ever, from behind the last that was acted upon, once there is a market to trade on."""
        await market_met.wait()
        token = await self._records.cursor(SIGNALS)
        async for response in resume(self._open, resume_token=token):
            self._heard_at = self._now()
            match response.WhichOneof("event"):
                case "signals":
                    for signal in response.signals.signals:
                        await self._act_on_signal(convert.signal_from_pb(signal))
                case "gap":
                    _log.warning("signals were lost", extra={"dropped": response.gap.dropped})
            if response.resume_token != token:
                token = response.resume_token
                await self._remember(token)

    async def ping(self) -> None:
        """Raise unless the stream has been heard of lately."""
        if self._heard_at is None or self._now() - self._heard_at > self._silence:
            raise DependencyUnavailable("the signals have not been heard of for too long", part="signals")

    async def _remember(self, token: str) -> None:
        async with self._units() as unit:
            await unit.save_cursor(SIGNALS, token)
            await unit.commit()

    def _open(self, resume_token: str) -> "grpc.aio.UnaryStreamCall[pb.StreamSignalsRequest, pb.StreamSignalsResponse]":
        return self._prediction.StreamSignals(pb.StreamSignalsRequest(resume_token=resume_token))
