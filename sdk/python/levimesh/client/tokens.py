"""Access tokens, fetched when they are needed and renewed before they expire."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

MARGIN = 30.0
"""Seconds before its end at which a token is renewed."""
_SETTLE_SECONDS = 5.0


@dataclass(frozen=True)
class AccessToken:
    """A token and the time (seconds since the epoch) at which it expires."""

    value: str = field(repr=False)
    expires_at: float

    def is_fresh(self, now: float, margin: float = MARGIN) -> bool:
        """Whether it is good for ``margin`` seconds more."""
        return self.expires_at - margin > now


class TokenSource:
    """The newest access token. Calls that need another one at the same time share one renewal, and its failure."""

    def __init__(
        self,
        renew: Callable[[AccessToken | None], Awaitable[AccessToken]],
        *,
        margin: float = MARGIN,
        now: Callable[[], float] = time.time,
    ) -> None:
        """``renew(refused)`` gives a token that is not ``refused``, the one that the mesh would not have any more."""
        self._renew = renew
        self._token: AccessToken | None = None
        self._refused: AccessToken | None = None
        self._margin = margin
        self._now = now
        self._renewal: asyncio.Task[AccessToken] | None = None

    async def get(self) -> AccessToken:
        """A token that is good for ``margin`` seconds more, or as fresh as can be. Raises what the renewal raises."""
        if self._token is not None and self._token.is_fresh(self._now(), self._margin):
            return self._token
        if self._renewal is None:
            self._renewal = asyncio.create_task(self._renewed())
        # Whoever stops waiting does not stop the renewal of the others.
        return await asyncio.shield(self._renewal)

    def reject(self, token: AccessToken | None = None) -> None:
        """The server refused ``token`` (None: the newest): the next call gets another one."""
        if self._token is not None and token in {None, self._token}:
            self._refused, self._token = self._token, None

    async def settle(self) -> None:
        """Wait a little for the end of a renewal, so that nothing is lost that it was given."""
        if self._renewal is not None:
            with suppress(Exception):
                async with asyncio.timeout(_SETTLE_SECONDS):
                    await self._renewal

    async def _renewed(self) -> AccessToken:
        try:
            self._token = await self._renew(self._refused)
            return self._token
        finally:
            self._renewal = None
