"""``python -m services.simex``: run the sandbox exchange until SIGTERM or SIGINT."""

import asyncio
import logging
import signal
import sys

from pydantic import ValidationError

from services.runtime.logging import configure
from services.simex.replay import ReplayError
from services.simex.server import open_simex
from services.simex.settings import SimexSettings

_BAD_SETTINGS = 2


async def _serve(settings: SimexSettings) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with open_simex(settings) as url:
        logging.getLogger("simex").info("simex listens on %s", url)
        await stop.wait()


def main() -> int:
    """Run simex; gives the exit code: 2 when a setting or a file is wrong."""
    try:
        settings = SimexSettings()
        configure("simex", settings.log_level)
        asyncio.run(_serve(settings))
    except ValidationError as error:
        sys.stderr.write(f"simex: a SIMEX_* setting is wrong: {error}\n")
        return _BAD_SETTINGS
    except (ReplayError, OSError) as error:
        sys.stderr.write(f"simex: {error}\n")
        return _BAD_SETTINGS
    return 0


if __name__ == "__main__":
    sys.exit(main())
