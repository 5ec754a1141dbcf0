"""Models, predictions and signals in PostgreSQL."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.sql.elements import ColumnElement

from services.prediction.adapters import tables
from services.prediction.domain.models import Model, ModelCard
from services.prediction.domain.predictions import Prediction, Signal
from services.prediction.ports import ModelPage

_card = TypeAdapter(ModelCard)


class SqlRegistry:
    """Models in the table ``prediction.models``."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def activate(self, model: Model) -> None:
        row = {
            "model_version": model.model_version,
            "active": True,
            "create_time": model.create_time,
            "artifact_sha256": model.artifact_sha256,
            "card": _card.dump_python(model.card, mode="json"),
        }
        async with self._engine.begin() as connection:
            await connection.execute(update(tables.models).where(tables.models.c.active).values(active=False))
            await connection.execute(insert(tables.models).values(row))

    async def active(self) -> Model | None:
        return await self._one(tables.models.c.active)

    async def by_version(self, model_version: str) -> Model | None:
        return await self._one(tables.models.c.model_version == model_version)

    async def newest(self, limit: int, before: int | None) -> ModelPage:
        query = select(tables.models).order_by(tables.models.c.sequence.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(tables.models.c.sequence < before)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        page = rows[:limit]
        return ModelPage([_model(row) for row in page], page[-1]["sequence"] if len(rows) > limit else None)

    async def _one(self, condition: ColumnElement[bool]) -> Model | None:
        async with self._engine.connect() as connection:
            row = (await connection.execute(select(tables.models).where(condition))).mappings().one_or_none()
        return None if row is None else _model(row)


class SqlPredictionLog:
    """Predictions and signals in the tables of those names. ``recorded`` is called when there are new signals."""

    def __init__(self, engine: AsyncEngine, recorded: Callable[[], None]) -> None:
        self._engine = engine
        self._recorded = recorded

    async def record(self, predictions: Sequence[Prediction], signals: Sequence[Signal]) -> None:
        async with self._engine.begin() as connection:
            rows = [asdict(prediction) | {"direction": prediction.direction.value} for prediction in predictions]
            await connection.execute(upsert(tables.predictions).values(rows).on_conflict_do_nothing())
            if signals:
                rows = [_signal_row(signal) for signal in signals]
                await connection.execute(upsert(tables.signals).values(rows).on_conflict_do_nothing())
        if signals:
            self._recorded()

    async def recorded_until(self, model_version: str, symbol: str) -> datetime | None:
        close_time = tables.predictions.c.candle_close_time
        query = (
            select(close_time)
            .where(tables.predictions.c.model_version == model_version, tables.predictions.c.symbol == symbol)
            .order_by(close_time.desc())
            .limit(1)
        )
        async with self._engine.connect() as connection:
            return await connection.scalar(query)


def _model(row: RowMapping) -> Model:
    return Model(
        model_version=row["model_version"],
        active=row["active"],
        create_time=row["create_time"],
        artifact_sha256=row["artifact_sha256"],
        card=_card.validate_python(row["card"]),
    )


def _signal_row(signal: Signal) -> dict[str, Any]:
    return {
        "prediction_id": signal.prediction.prediction_id,
        "threshold": signal.threshold,
        "create_time": signal.create_time,
        "published": False,
    }
