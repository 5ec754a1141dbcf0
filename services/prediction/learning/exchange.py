"""The files by which the service and the process that trains for it speak, in a folder that both are given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from services.prediction.domain.market import Bar
from services.prediction.domain.models import ModelCard
from services.prediction.domain.trainings import Plan, Trained

_HISTORIES, _PLAN, _ARTIFACT, _CARD = "histories.npz", "plan.json", "model.txt", "card.json"
_card = TypeAdapter(ModelCard)


def write_task(folder: Path, histories: Mapping[str, Sequence[Bar]], plan: Plan) -> None:
    """Say what is to be trained."""
    arrays = {symbol: np.array(bars, dtype=np.float64) for symbol, bars in histories.items()}
    np.savez(folder / _HISTORIES, allow_pickle=False, **arrays)
    (folder / _PLAN).write_text(json.dumps(asdict(plan)))


def read_task(folder: Path) -> tuple[dict[str, list[Bar]], Plan]:
    """What is to be trained."""
    with np.load(folder / _HISTORIES, allow_pickle=False) as arrays:
        histories = {
            symbol: [Bar(int(row[0]), *row[1:]) for row in arrays[symbol].reshape(-1, len(Bar._fields)).tolist()]
            for symbol in arrays.files
        }
    return histories, TypeAdapter(Plan).validate_json((folder / _PLAN).read_bytes())


def write_result(folder: Path, trained: Trained) -> None:
    """Hand over what came out."""
    (folder / _ARTIFACT).write_bytes(trained.artifact)
    (folder / _CARD).write_bytes(_card.dump_json(trained.card))


def read_result(folder: Path) -> Trained:
    """What came out."""
    return Trained((folder / _ARTIFACT).read_bytes(), _card.validate_json((folder / _CARD).read_bytes()))
