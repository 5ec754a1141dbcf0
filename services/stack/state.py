"""The state folder: where everything lies that survives a stop, and what is remembered there."""

import base64
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from gateway.settings import LONGEST_SOCKET_FOLDER
from services.stack.files import is_ours_alone, write_private
from services.stack.settings import SERVICES


class StateUnusable(Exception):
    """The state folder is none, or what lies there is not what a mesh wrote; the message says what to do."""


@dataclass(frozen=True)
class State:
    """The paths in the state folder ``path``, which is absolute and need not exist."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> "State":
        """The state folder ``path``."""
        return cls(path.absolute())

    def make(self) -> None:
        """Make the folder when it is missing; nobody else may look into it. Raises StateUnusable."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            why = error.strerror or error
            raise StateUnusable(f"{self.path} cannot be a state folder: {why}; choose another with --state") from error

    @property
    def authority_key(self) -> Path:
        """The private key of the stack's certificate authority."""
        return self.path / "authority" / "private_key.pem"

    @property
    def certificates(self) -> Path:
        """``ca.pem`` and a folder for each workload."""
        return self.path / "certificates"

    @property
    def audit_anchors(self) -> Path:
        """The file that the head of the audit chain is anchored in, a line at a time."""
        return self.path / "audit" / "anchors.jsonl"

    @property
    def logs(self) -> Path:
        """A file for each process."""
        return self.path / "logs"

    @property
    def admin(self) -> Path:
        """Name and password of the first admin, as JSON."""
        return self.path / "admin.json"

    @property
    def processes(self) -> Path:
        """What runs now, as JSON: for whoever finds it after the supervisor was killed."""
        return self.path / "stack.json"

    @property
    def lock(self) -> Path:
        """Held by the one supervisor of this state folder."""
        return self.path / "lock"

    @property
    def sockets(self) -> Path:
        """Folder of unix sockets: in the state folder unless its path is too long for them."""
        inside = self.path / "run"
        if len(os.fsencode(inside)) <= LONGEST_SOCKET_FOLDER:
            return inside
        name = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"levimesh-{os.getuid()}-{name}"

    @property
    def control_socket(self) -> Path:
        """Where the supervisor takes commands."""
        return self.sockets / "control.sock"

    def make_sockets(self) -> None:
        """Make the folder of the sockets. Raises PermissionError when others could have put something there."""
        with suppress(FileExistsError):
            self.sockets.mkdir(mode=0o700)
        if not is_ours_alone(self.sockets):
            raise PermissionError(
                f"{self.sockets} is no folder that is yours alone; remove it, or use a shorter path with --state"
            )


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys, generated at the first start. They reach a process only by its environment or files."""

    postgres: str = field(repr=False)
    """Password of PostgreSQL's superuser."""
    redis: str = field(repr=False)
    """Password of Redis."""
    key_encryption: str = field(repr=False)
    """The key that auth encrypts its signing keys with: 32 bytes in base64."""
    roles: Mapping[str, str] = field(repr=False)
    """Password of each service's role in PostgreSQL."""

    @classmethod
    def of(cls, state: State) -> "Secrets":
        """The secrets of ``state``, generated at the first call. Raises StateUnusable."""
        path = state.path / "secrets.json"
        if path.exists():
            return _read(cls, path)
        made = cls(
            postgres=secrets.token_urlsafe(24),
            redis=secrets.token_urlsafe(24),
            key_encryption=base64.b64encode(secrets.token_bytes(32)).decode(),
            roles={service: secrets.token_urlsafe(24) for service in SERVICES},
        )
        write_private(path, json.dumps(asdict(made), indent=2).encode())
        return made


@dataclass(frozen=True)
class Memory:
    """What a mesh remembers between its runs."""

    source: str
    """Where the data in this state folder came from: ``simex``, ``replay:/folder`` or ``ccxt:binance``."""
    speed: float = 1.0
    """How many times faster than real time simex runs."""
    done: list[str] = field(default_factory=list)
    """What is done once in the life of a mesh and has been."""

    @classmethod
    def of(cls, state: State) -> "Memory | None":
        """What ``state`` remembers; None before its first start. Raises StateUnusable."""
        path = cls._file(state)
        return _read(cls, path) if path.exists() else None

    def with_done(self, what: str) -> "Memory":
        """This, and ``what`` is done."""
        return replace(self, done=[*self.done, what])

    def save(self, state: State) -> None:
        """Remember this."""
        write_private(self._file(state), json.dumps(asdict(self), indent=2).encode())

    @staticmethod
    def _file(state: State) -> Path:
        return state.path / "mesh.json"


Kept = TypeVar("Kept", Secrets, Memory)


def _read(kind: type[Kept], path: Path) -> Kept:
    try:
        return kind(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        # Not the error itself: it may quote what is in the file.
        raise StateUnusable(
            f"{path} cannot be read, or was not written by a mesh of this version: put a copy back, "
            "or begin anew in another folder with --state"
        ) from error
