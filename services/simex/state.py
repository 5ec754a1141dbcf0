"""What simex keeps on disk beside its orders: where its market began and where its clock stands."""

import asyncio
import hashlib
import json
from pathlib import Path

from services.simex.clock import Clock

_CLOCK_SECONDS = 1.0


class StateFolder:
    """A folder of small JSON files, each replaced as a whole; without a path nothing is kept.

    Each market (its kind, seed, symbols or files) has its own folder below ``root``, so that changing the
    settings never mixes the orders of one market with the prices of another.
    """

    def __init__(self, root: Path | None, market: str) -> None:
        self.path = None if root is None else root / hashlib.sha256(market.encode()).hexdigest()[:12]
        if self.path is not None:
            self.path.mkdir(parents=True, exist_ok=True)

    def file(self, name: str) -> Path | None:
        """Where a file of this market belongs, or None when nothing is kept."""
        return None if self.path is None else self.path / name

    def read(self, name: str) -> int | None:
        """The number kept under ``name``, or None."""
        if self.path is None or not (file := self.path / f"{name}.json").exists():
            return None
        return int(json.loads(file.read_text()))

    def write(self, name: str, value: int) -> None:
        """Keep a number under ``name``: after a crash the file holds the old or the new one."""
        if self.path is None:
            return
        draft = self.path / f"{name}.json.new"
        draft.write_text(json.dumps(value))
        draft.replace(self.path / f"{name}.json")

    async def keep_clock(self, clock: Clock) -> None:
        """Write the time down every second, and once more when cancelled."""
        try:
            while True:
                self.write("clock_ms", clock.now_ms())
                await asyncio.sleep(_CLOCK_SECONDS)
        finally:
            self.write("clock_ms", clock.now_ms())
