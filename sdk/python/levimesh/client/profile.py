"""Where a client finds its gateway and who it is.

An explicit argument wins; then what ``levimesh login`` wrote; then the embedded stack in the state folder.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from levimesh.client.tokens import AccessToken

DEFAULT_GATEWAY = "127.0.0.1:8443"


class ProfileError(Exception):
    """It is not known where the mesh is, or who to be there; the message says what to do."""


@dataclass(frozen=True)
class Profile:
    """A gateway and an identity for it."""

    gateway: str = DEFAULT_GATEWAY
    """``host:port`` of the gateway's TLS listener."""
    ca: str = ""
    """PEM file of the authority of the gateway's certificate; empty for the public ones."""
    username: str = ""
    password: str = field(default="", repr=False)
    """Only known for the embedded stack; never written by ``levimesh login``."""
    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    """When the access token expires, in seconds since the epoch."""

    @property
    def token(self) -> AccessToken | None:
        """The stored access token, if there is one."""
        return AccessToken(self.access_token, self.expires_at) if self.access_token else None


def credentials_file() -> Path:
    """Where ``levimesh login`` keeps the profile: ``LEVIMESH_CREDENTIALS`` or the user's configuration folder."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("LEVIMESH_CREDENTIALS") or home / "levimesh" / "credentials.json")


def state_folder() -> Path:
    """Where the embedded stack of this directory keeps its state: ``LEVIMESH_STATE`` or ``.levimesh``."""
    return Path(os.environ.get("LEVIMESH_STATE") or ".levimesh")


def load() -> Profile:
    """The profile to use. Raises ProfileError when there is none."""
    kept, state = credentials_file(), state_folder()
    if kept.exists():
        return _saved(kept)
    if (state / "admin.json").exists():
        return embedded(state)
    raise ProfileError(
        f"no mesh is known here: run `levimesh up`, or `levimesh login USER --gateway HOST:PORT` "
        f"(looked for {kept} and {state / 'admin.json'})"
    )


def embedded(state: Path) -> Profile:
    """The admin of the embedded stack that runs with the folder ``state``. Raises ProfileError when none does."""
    if not (state / "stack.json").exists():
        raise ProfileError(f"the mesh in {state} does not run; start it with `levimesh up`")
    running, admin = _read(state / "stack.json"), _read(state / "admin.json")
    try:
        return Profile(
            gateway=f"127.0.0.1:{running['ports']['gateway']}",
            ca=str((state / "certificates" / "ca.pem").absolute()),
            username=admin["username"],
            password=admin["password"],
        )
    except KeyError as error:
        raise ProfileError(f"{state} is not the state of a mesh of this version: it lacks {error}") from error


def save(profile: Profile) -> Path:
    """Keep ``profile`` without its password, readable by its owner only; returns the file."""
    path = credentials_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept = {name: value for name, value in asdict(profile).items() if name != "password"}
    descriptor, staged = tempfile.mkstemp(dir=path.parent)  # which nobody else may read
    with os.fdopen(descriptor, "w") as file:
        json.dump(kept, file, indent=2)
    return Path(staged).replace(path)


def _saved(path: Path) -> Profile:
    try:
        return Profile(**_read(path))
    except TypeError as error:
        raise ProfileError(f"{path} is not of this version: run `levimesh login` again") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise ProfileError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ProfileError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ProfileError(f"{path} is not a JSON object")
    return content
