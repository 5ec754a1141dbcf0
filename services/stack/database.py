"""The database of the mesh: a schema for each service, migrated before the service starts."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from services.stack.postgres import Cluster

_DATABASE: Final = "levimesh"
_SERVICES: Final = Path(__file__).parents[1]


class Database:
    """Lets each service find its schema as its migrations want it."""

    def __init__(self, cluster: Cluster, passwords: Mapping[str, str]) -> None:
        self._cluster = cluster
        self._passwords = passwords
        self._notes: dict[str, str] | None = None
        self._migrating = asyncio.Lock()

    def url(self, service: str) -> str:
        """What ``service`` connects to."""
        return self._cluster.url(service, self._passwords[service], _DATABASE)

    async def ready(self) -> None:
        """Raise unless the server answers; provide the roles and schemas when it does for the first time."""
        await self._cluster.ping()
        if self._notes is None:
            self._notes = await self._cluster.provide(_DATABASE, self._passwords)

    def migration(self, service: str) -> Callable[[], Awaitable[None]]:
        """What brings the schema of ``service`` up to date.

        A note in the schema tells by which migrations it was made. When these are the ones, Alembic is not even loaded,
        which saves a second of each start.
        """
        wanted = _fingerprint(service)

        async def migrate() -> None:
            # One at a time: Alembic keeps what it works on in a global.
            async with self._migrating:
                if self._notes is not None and self._notes.get(service) == wanted:
                    return
                from services.runtime import migrations

                await migrations.migrate(service, self.url(service))
                self._notes = await self._cluster.note(_DATABASE, service, wanted)

        return migrate


def _fingerprint(service: str) -> str:
    versions = sorted((_SERVICES / service / "migrations" / "versions").glob("*.py"))
    return hashlib.sha256(b"".join(version.read_bytes() for version in versions)).hexdigest()
