"""Whole objects by key: in a folder (``file:///var/lib/models``), in S3 (``s3://bucket/models``), or where fsspec goes.

A scheme other than ``file`` needs its fsspec package (``s3fs`` for ``s3``) installed.
"""

import asyncio
import uuid

import fsspec


class ObjectNotFound(LookupError):
    """There is no object with this key."""


class ObjectStore:
    """Objects below one URL. Keys are relative paths with ``/``."""

    def __init__(self, url: str) -> None:
        self._files, self._root = fsspec.core.url_to_fs(url)

    async def put(self, key: str, content: bytes) -> None:
        """Store ``content``. A reader sees all of it or what was there before, and a crash leaves one of the two."""
        await asyncio.to_thread(self._put, self._path(key), content)

    async def get(self, key: str) -> bytes:
        """The content of an object. Raises ObjectNotFound."""
        path = self._path(key)
        try:
            return bytes(await asyncio.to_thread(self._files.cat_file, path))
        except FileNotFoundError:
            raise ObjectNotFound(f"no object {key!r} in the store") from None

    def _path(self, key: str) -> str:
        if not key or any(part in ("", ".", "..") for part in key.split("/")):
            raise ValueError(f"not a key of an object: {key!r}")
        return f"{self._root.rstrip('/')}/{key}"

    def _put(self, path: str, content: bytes) -> None:
        self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        incomplete = f"{path}.{uuid.uuid4().hex}.incomplete"
        self._files.pipe_file(incomplete, content)
        self._files.mv(incomplete, path)
