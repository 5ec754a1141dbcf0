"""Files that several processes share: read and replaced whole, for their owner only, and changed under a lock."""

import asyncio
import fcntl
import json
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from levimesh.client.errors import ProfileError

_POLL_SECONDS = 0.02


@asynccontextmanager
async def locked(path: Path, patience: float = 60.0) -> AsyncIterator[None]:
    """Keep other processes, and other tasks of this one, from what they do under the lock of ``path``.

    Its folder is made when missing. The lock ends with the process, however that ends. Raises ProfileError when the
    lock cannot be had within ``patience`` seconds.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ProfileError(f"{lock} cannot be opened: {error.strerror}") from error
    try:
        await _acquire(descriptor, lock, patience)
        yield
    finally:
        os.close(descriptor)


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises ProfileError when it cannot be read, or holds something else."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ProfileError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path} is not a JSON object")
    return content


def write_object(path: Path, content: Mapping[str, Any]) -> None:
    """Replace ``path`` in one step. Its folder is made when missing. Raises ProfileError when it cannot be written."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, staged = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # which nobody else may read
        with os.fdopen(descriptor, "w") as file:
            json.dump(content, file, indent=2)
            file.flush()
            os.fsync(descriptor)
        Path(staged).replace(path)
    except OSError as error:
        raise ProfileError(f"{path} cannot be written: {error.strerror}") from error


async def _acquire(descriptor: int, lock: Path, patience: float) -> None:
    try:
        async with asyncio.timeout(patience):
            while not _acquired(descriptor):  # noqa: ASYNC110 - another process frees it, which sets no event here
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise ProfileError(f"another process has held {lock} for {patience:.0f} s") from None


def _acquired(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
