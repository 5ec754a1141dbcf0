"""Sessions, their tokens, and what is revoked."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from services.auth.domain.sessions import Exchange, RefreshToken, Session
from services.auth.domain.tokens import AccessToken, Grant, SessionTokens
from services.auth.domain.users import User


class Tokens(Protocol):
    """Makes access tokens."""

    def issue(self, grant: Grant, now: datetime) -> AccessToken:
        """A token that says what ``grant`` says, good from ``now`` for a few minutes."""


class RefreshTokens(Protocol):
    """Makes refresh tokens, which are kept by their fingerprints only."""

    def new(self) -> str:
        """A token that nobody can guess."""

    def fingerprint(self, token: str) -> bytes:
        """What ``token`` is found by, and cannot be found from."""

    def seal(self, token: str, answer: SessionTokens) -> bytes:
        """``answer``, so that it can be read by whoever has ``token``, and by nobody else."""

    def open(self, token: str, sealed: bytes, session_id: str) -> SessionTokens:
        """The answer, of this session, that ``seal`` was given with this token."""


class Presented(Protocol):
    """A refresh token that somebody presents, with its session, for as long as nobody else can change either."""

    token: RefreshToken
    session: Session
    user: User
    """As of now, not as of the login."""

    async def exchange(self, exchange: Exchange, successor: bytes, session: Session) -> None:
        """The token is used up, the one with the fingerprint ``successor`` is the next, and the session is renewed."""

    async def end_for_reuse(self, now: datetime) -> None:
        """End the session, because its token was used before; it is listed as revoked, and that is recorded."""


class Sessions(Protocol):
    """Where sessions are kept. To end one is also to list it as revoked."""

    async def begin(self, session: Session, fingerprint: bytes, proved: datetime) -> bool:
        """Keep a new session with its first refresh token, and end the user's oldest where they are too many; says
        whether it was kept.

        It is not when the user's sessions were ended after ``proved``, the time of what the user proved to begin one:
        the password, for example, may be another one by now.
        """

    def present(self, fingerprint: bytes) -> AbstractAsyncContextManager[Presented | None]:
        """The refresh token with this fingerprint, if there is one, in a transaction that ends with the context."""

    async def end(self, session_id: str, user_id: str, now: datetime) -> bool | None:
        """End a session of a user. False when it had ended before; None when the user has no such session."""

    async def end_all_of_user(self, user_id: str, now: datetime, *, but: str | None = None) -> int:
        """End the sessions of a user, except ``but``; how many there were."""

    async def active_of_user(
        self, user_id: str, now: datetime, after: tuple[datetime, str] | None, limit: int
    ) -> Sequence[Session]:
        """At most ``limit`` active sessions by time and id, the newest first, those after ``after``."""

    async def forget(self, now: datetime) -> None:
        """Remove what is of no use any more: sessions that ended long ago, used tokens that have expired themselves,
        answers too old for a retry."""


class Revocations(Protocol):
    """What was given out and is good no more, listed for as long as there may be tokens of it."""

    async def current(self) -> frozenset[str]:
        """The ``sid`` of ended sessions and API keys, and the ``rights_id`` of users whose rights have changed."""

    async def forget(self) -> None:
        """Remove what no token can be good for any more."""
