"""``python -m services.prediction.learning FOLDER`` trains what the folder describes and leaves the model there.

It writes a line of JSON for every step: ``{"stage": …, "fraction": …}``, or ``{"not_enough_history": …}`` at the end.
"""

import json
import os
import sys
from pathlib import Path

from services.prediction.domain.trainings import NotEnoughHistory
from services.prediction.learning.exchange import read_task, write_result
from services.prediction.learning.training import train


def main() -> None:
    """The process that trains."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m services.prediction.learning FOLDER")
    os.nice(10)  # serving comes first
    folder = Path(sys.argv[1])
    histories, plan = read_task(folder)
    try:
        trained = train(histories, plan, lambda stage, fraction: _say(stage=stage, fraction=fraction))
    except NotEnoughHistory as error:
        _say(not_enough_history=str(error))
    else:
        write_result(folder, trained)


def _say(**words: str | float) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
