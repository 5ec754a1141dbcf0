"""A session: the tokens of one login, and where they are kept from one exchange to the next."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from levimesh.client.errors import ProfileError
from levimesh.client.files import locked, read_object, write_object
from levimesh.client.tokens import AccessToken


@dataclass(frozen=True)
class Session:
    """The newest tokens of a login."""

    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0
    """When the access token expires, in seconds since the epoch."""
    refresh_token: str = field(default="", repr=False)
    """Good for one exchange; with an empty one the session ends when the access token expires."""
    request_id: str = ""
    """Of the exchange of the refresh token, when it was begun: whoever takes it up again gets the same answer."""

    @property
    def token(self) -> AccessToken | None:
        """The access token, if there is one."""
        return AccessToken(self.access_token, self.expires_at) if self.access_token else None


class Keeper(Protocol):
    """Keeps a session. Nobody else reads or writes it while ``locked`` is entered."""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Shut out everybody who shares the session."""

    def read(self) -> Session | None:
        """The newest tokens; None when nobody is logged in."""

    def write(self, session: Session) -> None:
        """Keep these tokens instead."""


class InMemory:
    """Keeps a session for one client."""

    def __init__(self, session: Session | None = None) -> None:
        self._session = session

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Nobody shares the session."""
        yield

    def read(self) -> Session | None:
        """The newest tokens."""
        return self._session

    def write(self, session: Session) -> None:
        """Keep these tokens instead."""
        self._session = session


@dataclass(frozen=True)
class SessionFile:
    """Keeps a session in a file, for all processes that are the same user at the same gateway."""

    path: Path
    gateway: str
    username: str
    ca: str = ""

    def locked(self) -> AbstractAsyncContextManager[None]:
        """Shut out the other processes."""
        return locked(self.path)

    def read(self) -> Session | None:
        """The newest tokens; None where there are none, or those of another user or gateway. Raises ProfileError."""
        if not self.path.exists():
            return None
        kept = read_object(self.path)
        if (kept.get("gateway"), kept.get("username")) != (self.gateway, self.username):
            return None
        try:
            return Session(**kept["session"])
        except (KeyError, TypeError) as error:
            raise ProfileError(f"{self.path} is not of this version: run `levimesh login` again") from error

    def write(self, session: Session) -> None:
        """Keep these tokens, and whose they are. Raises ProfileError."""
        owner = {"gateway": self.gateway, "ca": self.ca, "username": self.username}
        write_object(self.path, owner | {"session": asdict(session)})

    def forget(self) -> None:
        """Nobody is logged in any more."""
        self.path.unlink(missing_ok=True)
