"""Access tokens, fetched when they are needed and renewed before they expire."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AccessToken:
    """A token and the time (seconds since the epoch) at which it expires."""

    value: str = field(repr=False)
    expires_at: float


class TokenSource:
    """The newest access token. Calls that need another one at the same time share one login, and its failure."""

    def __init__(
        self,
        login: Callable[[], Awaitable[AccessToken]],
        *,
        token: AccessToken | None = None,
        margin: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._login = login
        self._token = token
        self._margin = margin
        self._now = now
        self._renewal: asyncio.Task[AccessToken] | None = None

    async def get(self) -> AccessToken:
        """A token that is good for ``margin`` seconds more, or as fresh as can be. Raises what the login raises."""
        if self._token is not None and self._token.expires_at - self._margin > self._now():
            return self._token
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renew())
        # Whoever stops waiting does not stop the login of the others.
        return await asyncio.shield(self._renewal)

    def reject(self, token: AccessToken | None = None) -> None:
        """The server refused ``token`` (None: the newest): the next call logs in again."""
        if token is None or token == self._token:
            self._token = None

    async def _renew(self) -> AccessToken:
        try:
            self._token = await self._login()
            return self._token
        finally:
            self._renewal = None
