"""Training in a process of its own, so that serving and health never wait for it."""

import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.prediction.domain.market import Bar
from services.prediction.domain.trainings import (
    NotEnoughHistory,
    Plan,
    Progress,
    Trained,
    TrainingFailed,
    TrainingKilled,
)
from services.prediction.learning.exchange import read_result, write_task

_SECRETS = "PREDICTION_"  # the settings of this service, which the process does not need


class TrainingProcess:
    """Runs ``python -m services.prediction.learning``."""

    async def train(self, histories: Mapping[str, Sequence[Bar]], plan: Plan, progress: Progress) -> Trained:
        with tempfile.TemporaryDirectory(prefix="levimesh-training-") as name:
            folder = Path(name)
            await asyncio.to_thread(write_task, folder, histories, plan)
            await _run(folder, progress)
            return await asyncio.to_thread(read_result, folder)


async def _run(folder: Path, progress: Progress) -> None:
    with (folder / "errors").open("w+") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "services.prediction.learning", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)},
        )
        try:
            assert process.stdout is not None  # noqa: S101 - asked for above
            async for line in process.stdout:
                _hear(json.loads(line), progress)
            code = await process.wait()
            if code < 0:
                raise TrainingKilled(f"the training process was ended by signal {-code}")
            if code != 0:
                errors.seek(0)
                raise TrainingFailed(f"the training process ended with {code}: {errors.read()[-2000:]}")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _hear(words: Mapping[str, str | float], progress: Progress) -> None:
    if "not_enough_history" in words:
        raise NotEnoughHistory(words["not_enough_history"])
    progress(str(words["stage"]), float(words["fraction"]))
