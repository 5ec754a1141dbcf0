"""What is done with sessions, one callable each."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from services.auth.domain.sessions import Exchange, Origin, Session, SessionRules, Use
from services.auth.domain.tokens import Grant, SessionTokens
from services.auth.domain.totp import CodeUse
from services.auth.domain.users import User
from services.auth.errors import (
    CredentialsInvalid,
    RefreshTokenInvalid,
    RefreshTokenReused,
    SecondFactorRequired,
    SessionNotFound,
)
from services.auth.ports.sessions import Presented, RefreshTokens, Sessions, Tokens
from services.auth.ports.users import LoginGuard, SecondFactors, Turns
from services.auth.use_cases.passwords import ProvePassword
from services.runtime.audit import tell_audit
from services.runtime.clock import Clock
from services.runtime.tokens import SessionEnded

NewId = Callable[[], UUID]


class Authenticate:
    """Find the user who knows the password, and has the second factor where there is one.

    A wrong code gives the same answer as a wrong password, and counts as one.
    """

    def __init__(
        self, prove_password: ProvePassword, second_factors: SecondFactors, guard: LoginGuard, turns: Turns
    ) -> None:
        self._prove_password = prove_password
        self._second_factors = second_factors
        self._guard = guard
        self._turns = turns

    async def __call__(self, username: str, password: str, code: str) -> User:
        """Raises Overloaded when too many try at once, and what ProvePassword raises."""
        async with self._turns():
            return await self._authenticate(username, password, code)

    async def _authenticate(self, username: str, password: str, code: str) -> User:
        user = (await self._prove_password(username, password)).user
        if await self._second_factors.required(user):
            if not code:
                raise SecondFactorRequired
            use = await self._second_factors.use(user, code)
            if use is CodeUse.WRONG:
                await self._guard.failed(username)
            if use is not CodeUse.RIGHT:
                raise CredentialsInvalid
        await self._guard.succeeded(username)
        return user


class BeginSession:
    """Give a user who has proved who they are a session."""

    def __init__(
        self,
        sessions: Sessions,
        tokens: Tokens,
        refresh_tokens: RefreshTokens,
        rules: SessionRules,
        now: Clock,
        new_id: NewId,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._rules = rules
        self._now = now
        self._new_id = new_id

    async def __call__(
        self, user: User, origin: Origin, proved: datetime, scopes: frozenset[str] | None = None
    ) -> SessionTokens:
        """Limited to ``scopes``, if they are given.

        Raises CredentialsInvalid when the user's sessions were ended after ``proved``, the time of the proof.
        """
        now = self._now()
        session = Session.begun(str(self._new_id()), user.user_id, now, origin, self._rules, scopes)
        refresh_token = self._refresh_tokens.new()
        if not await self._sessions.begin(session, self._refresh_tokens.fingerprint(refresh_token), proved):
            raise CredentialsInvalid
        access_token = self._tokens.issue(Grant.of_login(user, session.session_id, scopes=scopes), now)
        tell_audit(actor=user.user_id, session_id=session.session_id)
        return SessionTokens(session.session_id, access_token, refresh_token, session.expire_time)


class Login:
    """Exchange a user name, a password, and the code of a second factor for a session."""

    def __init__(self, authenticate: Authenticate, begin_session: BeginSession, now: Clock) -> None:
        self._authenticate = authenticate
        self._begin_session = begin_session
        self._now = now

    async def __call__(self, username: str, password: str, code: str, origin: Origin) -> tuple[SessionTokens, User]:
        before = self._now()
        user = await self._authenticate(username, password, code)
        return await self._begin_session(user, origin, before), user


class RefreshSession:
    """Exchange a refresh token for the next tokens of its session.

    Whoever uses one that was used before is refused, and ends the session unless it looks like an accident.
    """

    def __init__(
        self,
        sessions: Sessions,
        tokens: Tokens,
        refresh_tokens: RefreshTokens,
        rules: SessionRules,
        now: Clock,
    ) -> None:
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._rules = rules
        self._now = now

    async def __call__(self, refresh_token: str, request_id: str) -> SessionTokens:
        fingerprint = self._refresh_tokens.fingerprint(refresh_token)
        async with self._sessions.present(fingerprint) as presented:
            now = self._now()
            if presented is None or not presented.session.is_active(now) or presented.user.disabled:
                raise RefreshTokenInvalid
            if now >= presented.token.expire_time:
                raise RefreshTokenInvalid
            session = presented.session
            tell_audit(actor=session.user_id, session_id=session.session_id)
            use = presented.token.use(request_id, now, self._rules)
            if use is Use.RETRY:
                return self._same_answer(refresh_token, presented)
            if use is Use.FIRST:
                return await self._exchange(refresh_token, request_id, presented, now)
            if use is Use.REUSE:
                await presented.end_for_reuse(now)
        raise RefreshTokenReused(ended=use is Use.REUSE)

    async def _exchange(
        self, refresh_token: str, request_id: str, presented: Presented, now: datetime
    ) -> SessionTokens:
        session = presented.session.renewed(now, self._rules)
        grant = Grant.of_login(presented.user, session.session_id, scopes=session.scopes)
        answer = SessionTokens(
            session_id=session.session_id,
            access_token=self._tokens.issue(grant, now),
            refresh_token=self._refresh_tokens.new(),
            refresh_expire_time=session.expire_time,
        )
        exchange = Exchange(now, request_id, self._refresh_tokens.seal(refresh_token, answer))
        await presented.exchange(exchange, self._refresh_tokens.fingerprint(answer.refresh_token), session)
        return answer

    def _same_answer(self, refresh_token: str, presented: Presented) -> SessionTokens:
        exchange = presented.token.exchange
        assert exchange is not None  # noqa: S101 - or it would be the first use
        assert exchange.answer is not None  # noqa: S101 - or it would be too late for a retry
        return self._refresh_tokens.open(refresh_token, exchange.answer, presented.session.session_id)


class Logout:
    """End the session of the caller."""

    def __init__(self, sessions: Sessions, now: Clock) -> None:
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str, session_id: str) -> None:
        if not await self._sessions.end(session_id, user_id, self._now()):
            raise SessionEnded("the session has ended already")


class LogoutEverywhere:
    """End all sessions of the caller."""

    def __init__(self, sessions: Sessions, now: Clock) -> None:
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str) -> int:
        return await self._sessions.end_all_of_user(user_id, self._now())


class ListSessions:
    """A page of the caller's sessions, the newest first."""

    def __init__(self, sessions: Sessions, now: Clock) -> None:
        self._sessions = sessions
        self._now = now

    async def __call__(
        self, user_id: str, after: tuple[datetime, str] | None, size: int
    ) -> tuple[Sequence[Session], Session | None]:
        """At most ``size`` sessions after ``after``, and the one to go on after (None when these are the last)."""
        found = await self._sessions.active_of_user(user_id, self._now(), after, size + 1)
        return found[:size], found[size - 1] if len(found) > size else None


class RevokeSession:
    """End one session of the caller; a second time changes nothing."""

    def __init__(self, sessions: Sessions, now: Clock) -> None:
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str, session_id: str) -> None:
        if await self._sessions.end(session_id, user_id, self._now()) is None:
            raise SessionNotFound(session_id)
