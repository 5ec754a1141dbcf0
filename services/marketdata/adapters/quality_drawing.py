"""Draws the report on the quality of data in a process of its own: no stream and no health check waits for it."""

import asyncio
import os
import pickle
import sys
from collections.abc import Sequence
from datetime import datetime

from services.marketdata.domain.quality import Quality

_SECRETS = "MARKETDATA_"  # the settings of this service, which the process does not need


async def draw(qualities: Sequence[Quality], made_at: datetime) -> str:
    """The page that ``quality_page`` makes."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.marketdata.adapters.quality_page"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.startswith(_SECRETS)},
    )
    try:
        page, _ = await process.communicate(pickle.dumps((qualities, made_at)))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise RuntimeError(f"the page was not drawn: its process ended with {process.returncode}")
    return page.decode()
