"""The log files of the processes: kept small, and shown."""

import asyncio
import json
import os
import shutil
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import BinaryIO

_LARGEST = 10 * 1024 * 1024
_POLL_SECONDS = 0.2
_TRACEBACK_END = 4


def open_log(path: Path) -> BinaryIO:
    """The file that a process writes its log to. It outlives the supervisor, unlike a pipe."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def rotate(path: Path, largest: int = _LARGEST) -> None:
    """Move the content of a log that is too large to ``<path>.1``, while its process goes on writing."""
    if path.exists() and path.stat().st_size > largest:
        shutil.copy2(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)


def last_lines(path: Path, count: int) -> list[str]:
    """The last ``count`` lines of a log; none when it does not exist."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, count)]


def last_error(path: Path) -> str:
    """Why a process is in trouble: the newest warning or error of its log, or how a traceback ends."""
    lines = last_lines(path, 200)
    if lines and not lines[-1].startswith("{"):
        return "\n".join(lines[-_TRACEBACK_END:])
    for line in reversed(lines):
        level, message = _read(line)
        if level in {"WARNING", "ERROR", "CRITICAL"}:
            return message
    return ""


async def follow(paths: Iterable[Path]) -> AsyncGenerator[tuple[Path, str], None]:
    """Every complete line that is appended to one of ``paths`` from now on, for ever."""
    positions = {path: path.stat().st_size if path.exists() else 0 for path in paths}
    while True:
        for path in positions:
            for line in _new_lines(path, positions):
                yield path, line
        await asyncio.sleep(_POLL_SECONDS)


def _new_lines(path: Path, positions: dict[Path, int]) -> list[str]:
    size = path.stat().st_size if path.exists() else 0
    if size < positions[path]:
        positions[path] = 0
    if size == positions[path]:
        return []
    with path.open("rb") as file:
        file.seek(positions[path])
        content = file.read()
    complete = content[: content.rfind(b"\n") + 1]
    positions[path] += len(complete)
    return complete.decode(errors="replace").splitlines()


def _read(line: str) -> tuple[str, str]:
    try:
        said = json.loads(line)
        details = [str(said[key]) for key in ("message", "part", "problem", "error") if said.get(key)]
        return str(said.get("level", "")), ": ".join(details)
    except (ValueError, AttributeError):
        return "", line
