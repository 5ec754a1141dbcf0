"""Where a client finds its gateway and who it is.

An explicit argument wins; then an API key in the environment; then what ``levimesh login`` wrote; then the embedded
stack in the state folder.
"""

import os
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from levimesh.client.errors import ProfileError
from levimesh.client.files import read_object
from levimesh.client.session import Session, SessionFile

DEFAULT_GATEWAY = "127.0.0.1:8443"


@dataclass(frozen=True)
class Profile:
    """A gateway and an identity for it: an API key, or a session, or a password by which one can be begun."""

    gateway: str = DEFAULT_GATEWAY
    """``host:port`` of the gateway's TLS listener."""
    ca: str = ""
    """PEM file of the authority of the gateway's certificate; empty for the public ones."""
    username: str = ""
    password: str = field(default="", repr=False)
    """Never written by ``levimesh login``."""
    session: Session | None = None
    """A login that was made before."""
    session_file: SessionFile | None = None
    """Where the session is kept instead, when several processes share it."""
    second_factor: Callable[[], Awaitable[str]] | None = field(default=None, repr=False)
    """Gives the code of the authenticator when a login by the password needs one."""
    api_key: str = field(default="", repr=False)
    """Comes before every session and password."""
    api_key_file: Path | None = None
    """A file that holds the API key instead; read again whenever a token is needed."""

    @property
    def has_api_key(self) -> bool:
        """Whether the calls are made by an API key."""
        return bool(self.api_key or self.api_key_file)

    def current_api_key(self) -> str:
        """The API key. Raises ProfileError when its file holds none."""
        if self.api_key_file is None:
            return self.api_key
        try:
            key = self.api_key_file.read_text().strip()
        except OSError as error:
            raise ProfileError(f"the API key in {self.api_key_file} cannot be read: {error.strerror}") from error
        if not key:
            raise ProfileError(f"there is no API key in {self.api_key_file}")
        return key

    def without_session(self, *, has_ended: bool) -> str:
        """What to tell a person when there is no session, and no password to begin one."""
        where = ["--gateway", self.gateway, *(["--ca", self.ca] if self.ca else [])]
        advice = f"run `{shlex.join(['levimesh', 'login', self.username or 'USER', *where])}`"
        if has_ended:
            return f"the login of {self.username or 'the user'} at {self.gateway} has expired or was ended: {advice}"
        return f"nobody is logged in at {self.gateway}, and there is no password and no API key: {advice}"


def credentials_file() -> Path:
    """Where ``levimesh login`` keeps the profile: ``LEVIMESH_CREDENTIALS`` or the user's configuration folder."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get("LEVIMESH_CREDENTIALS") or home / "levimesh" / "credentials.json")


def state_folder() -> Path:
    """Where the embedded stack of this directory keeps its state: ``LEVIMESH_STATE`` or ``.levimesh``."""
    return Path(os.environ.get("LEVIMESH_STATE") or ".levimesh")


def load() -> Profile:
    """The profile to use. Raises ProfileError when there is none."""
    key, key_file = os.environ.get("LEVIMESH_API_KEY", ""), os.environ.get("LEVIMESH_API_KEY_FILE", "")
    if not key and not key_file:
        return _person()
    if gateway := os.environ.get("LEVIMESH_GATEWAY"):
        where = Profile(gateway, os.environ.get("LEVIMESH_CA", ""))
    else:
        known = _person()
        where = Profile(known.gateway, known.ca)
    return replace(where, api_key=key) if key else replace(where, api_key_file=Path(key_file))


def logged_in() -> Profile | None:
    """What ``levimesh login`` wrote. Raises ProfileError when that makes no sense."""
    path = credentials_file()
    if not path.exists():
        return None
    kept = read_object(path)
    try:
        owner = SessionFile(path, kept["gateway"], kept["username"], kept["ca"])
        owner.read()
    except KeyError as error:
        raise ProfileError(f"{path} is not of this version: run `levimesh login` again") from error
    return Profile(owner.gateway, owner.ca, owner.username, session_file=owner)


def embedded(state: Path) -> Profile:
    """The admin of the embedded stack that runs with the folder ``state``. Raises ProfileError when none does."""
    if not (state / "stack.json").exists():
        raise ProfileError(f"the mesh in {state} does not run; start it with `levimesh up`")
    running, admin = read_object(state / "stack.json"), read_object(state / "admin.json")
    try:
        gateway, username, password = f"127.0.0.1:{running['ports']['gateway']}", admin["username"], admin["password"]
    except KeyError as error:
        raise ProfileError(f"{state} is not the state of a mesh of this version: it lacks {error}") from error
    ca = str((state / "certificates" / "ca.pem").absolute())
    kept = SessionFile((state / "admin-session.json").absolute(), gateway, username, ca)
    return Profile(gateway, ca, username, password, session_file=kept)


def _person() -> Profile:
    state = state_folder()
    if (login := logged_in()) is not None:
        return login
    if (state / "admin.json").exists():
        return embedded(state)
    raise ProfileError(
        f"no mesh is known here: run `levimesh up`, or `levimesh login USER --gateway HOST:PORT` "
        f"(looked for {credentials_file()} and {state / 'admin.json'})"
    )
