"""Anchors of the audit chain in a file: one JSON object a line, only ever appended to.

The file should lie where whoever administers the database cannot write: another machine's disk, or a store that keeps
what it has once been given.
"""

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from pathlib import Path

from services.auth.domain.audit import Anchor, AnchorsUnreadable

_log = logging.getLogger(__name__)

_LONGEST_LINE = 1024


class NoAnchors:
    """Remembers nothing: for a mesh that was given no place for it."""

    async def add(self, anchor: Anchor) -> None:
        """Forget it."""

    def all(self) -> Iterator[Anchor]:
        return iter(())


class AnchorFile:
    """Anchors in the file ``path``, which is made with the first of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def add(self, anchor: Anchor) -> None:
        # On a thread: it waits for the disk.
        await asyncio.to_thread(self._add, anchor)

    def all(self) -> Iterator[Anchor]:
        if not self._path.exists():
            return iter(())
        # The end as it is now; a line without an end was never finished, so it was never acknowledged either.
        return self._read(self._path.stat().st_size)

    def _read(self, end: int) -> Iterator[Anchor]:
        with self._path.open("rb") as file:
            number = 0
            while file.tell() < end and (line := file.readline()).endswith(b"\n"):
                number += 1
                try:
                    yield _anchor(line)
                except (ValueError, KeyError, TypeError) as error:
                    raise AnchorsUnreadable(f"line {number} of the file of anchors is not an anchor") from error

    def _add(self, anchor: Anchor) -> None:
        with self._locked() as file:
            newest = _last_line(file)
            if newest is not None:
                known = _anchor(newest)
                if (known.sequence, known.hash) == (anchor.sequence, anchor.hash):
                    return
                if known.sequence >= anchor.sequence:
                    _log.critical(
                        "the audit chain has lost what it held", extra={"held": known.sequence, "has": anchor.sequence}
                    )
                    return
            file.write(_line(anchor))
            os.fsync(file.fileno())

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with FileIO(descriptor, "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _last_line(file: FileIO) -> bytes | None:
    """The last whole line. What a crash has left of one after it is cut off."""
    size = file.seek(0, os.SEEK_END)
    start = max(0, size - _LONGEST_LINE)
    file.seek(start)
    tail = file.read(size - start)
    whole = tail.rfind(b"\n") + 1
    if whole < len(tail):
        _log.warning("the last anchor was not written to its end", extra={"bytes": len(tail) - whole})
        file.truncate(start + whole)
    lines = tail[:whole].splitlines()
    return lines[-1] if lines else None


def _line(anchor: Anchor) -> bytes:
    told = {"sequence": anchor.sequence, "hash": anchor.hash.hex(), "time": anchor.time.isoformat()}
    return json.dumps(told).encode() + b"\n"


def _anchor(line: bytes) -> Anchor:
    told = json.loads(line)
    return Anchor(int(told["sequence"]), bytes.fromhex(told["hash"]), datetime.fromisoformat(told["time"]))
