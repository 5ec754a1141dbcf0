"""Puts the parts together that have to do with sessions: their tokens, what is revoked, and the keys that sign."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.ed25519 import Ed25519KeyRing, JwtTokens
from services.auth.adapters.refresh_tokens import RandomRefreshTokens
from services.auth.adapters.revocations import SqlRevocations
from services.auth.adapters.sealing import Sealer
from services.auth.adapters.sessions import SqlSessions
from services.auth.adapters.signing_keys import SqlSigningKeys
from services.auth.background import TIDY_EVERY, repeat
from services.auth.domain.sessions import SessionRules
from services.auth.domain.signing_keys import KeySchedule
from services.auth.domain.tokens import PublicKey
from services.auth.people import People
from services.auth.ports.oauth import IdTokens
from services.auth.ports.sessions import Revocations, Sessions, Tokens
from services.auth.servicers.sessions import AuthServicer, SessionUseCases
from services.auth.settings import AuthSettings
from services.auth.use_cases.sessions import (
    Authenticate,
    BeginSession,
    ListSessions,
    Login,
    Logout,
    LogoutEverywhere,
    RefreshSession,
    RevokeSession,
)
from services.auth.use_cases.signing_keys import FollowSigningKeys, ResealSigningKeys, RotateSigningKeys
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock

Background = dict[str, Callable[[], Awaitable[None]]]
"""Work that goes on as long as the process, by name."""

_KEYS_EVERY = 10.0
_FIRST_KEYS_EVERY = 0.2


@dataclass(frozen=True)
class Issuing:
    """What issues access tokens."""

    tokens: Tokens
    id_tokens: IdTokens
    public_keys: Callable[[], Sequence[PublicKey]]
    """The published keys, the one that signs now first."""
    rotate: RotateSigningKeys
    reseal: ResealSigningKeys
    background: Background


@dataclass(frozen=True)
class SessionParts:
    """What begins, renews and ends sessions."""

    sessions: Sessions
    revocations: Revocations
    authenticate: Authenticate
    begin_session: BeginSession
    refresh_session: RefreshSession
    servicer: AuthServicer
    background: Background


async def open_issuing(
    settings: AuthSettings, engine: AsyncEngine, sealer: Sealer, audit: AuditLog, now: Clock
) -> Issuing:
    """The signing keys in the database behind ``engine``; the first replica of all makes the first.

    Raises KeyNotOpened when the key-encryption key is not that of the stored keys.
    """
    schedule = _schedule(settings)
    keys, ring = SqlSigningKeys(engine, audit), Ed25519KeyRing(sealer, schedule)
    reseal = ResealSigningKeys(keys, ring)
    await reseal()
    rotate = RotateSigningKeys(keys, ring, schedule, now)
    await rotate()
    background: Background = {"signing key rotation": partial(repeat, rotate, _KEYS_EVERY)}
    tokens = _tokens(settings, ring)
    return Issuing(tokens, tokens, lambda: ring.public_keys(now()), rotate, reseal, background)


async def follow_issuing(
    settings: AuthSettings, engine: AsyncEngine, sealer: Sealer, audit: AuditLog
) -> tuple[Tokens, Background]:
    """What issues access tokens with keys that others make, change and forget, and what keeps up with those.

    Waits until there are some. Raises KeyNotOpened when the key-encryption key is not that of the stored keys.
    """
    ring = Ed25519KeyRing(sealer, _schedule(settings))
    follow = FollowSigningKeys(SqlSigningKeys(engine, audit), ring)
    while not await follow():  # noqa: ASYNC110 - another process makes them
        await asyncio.sleep(_FIRST_KEYS_EVERY)
    return _tokens(settings, ring), {"signing keys": partial(repeat, follow, _KEYS_EVERY)}


def _schedule(settings: AuthSettings) -> KeySchedule:
    return KeySchedule(
        life=timedelta(days=settings.signing_key_days),
        overlap=timedelta(seconds=settings.signing_key_overlap_seconds),
        token_life=timedelta(seconds=settings.token_lifetime_seconds),
    )


def _tokens(settings: AuthSettings, ring: Ed25519KeyRing) -> JwtTokens:
    return JwtTokens(
        ring,
        issuer=settings.token_issuer,
        audience=settings.token_audience,
        seconds=settings.token_lifetime_seconds,
    )


def session_parts(
    settings: AuthSettings,
    engine: AsyncEngine,
    people: People,
    issuing: Issuing,
    audit: AuditLog,
    now: Clock,
    new_id: Callable[[], UUID],
) -> SessionParts:
    """Sessions in the database behind ``engine``."""
    rules = SessionRules(
        idle=timedelta(days=settings.session_idle_days),
        longest=timedelta(days=settings.session_days),
        retry=timedelta(seconds=settings.refresh_retry_seconds),
        race=timedelta(seconds=settings.refresh_race_seconds),
    )
    kept = SqlSessions(engine, audit, answers_kept=rules.retry, most=settings.sessions_per_user)
    revocations = SqlRevocations(engine, timedelta(seconds=settings.token_lifetime_seconds))
    refresh_tokens = RandomRefreshTokens()
    authenticate = Authenticate(people.prove_password, people.second_factors, people.guard, people.turns)
    begin_session = BeginSession(kept, issuing.tokens, refresh_tokens, rules, now, new_id)
    refresh_session = RefreshSession(kept, issuing.tokens, refresh_tokens, rules, now)
    use_cases = SessionUseCases(
        login=Login(authenticate, begin_session, now),
        refresh_session=refresh_session,
        logout=Logout(kept, now),
        logout_everywhere=LogoutEverywhere(kept, now),
        list_sessions=ListSessions(kept, now),
        revoke_session=RevokeSession(kept, now),
    )

    async def tidy() -> None:
        await kept.forget(now())
        await revocations.forget()

    return SessionParts(
        sessions=kept,
        revocations=revocations,
        authenticate=authenticate,
        begin_session=begin_session,
        refresh_session=refresh_session,
        servicer=AuthServicer(use_cases, revocations, issuing.public_keys),
        background={"tidying of sessions": partial(repeat, tidy, TIDY_EVERY)},
    )


async def follow_key_encryption(
    sealer: Sealer, reseal: Iterable[Callable[[], Awaitable[None]]], every: float = _KEYS_EVERY
) -> None:
    """Encrypt all that is stored anew whenever another key-encryption key is set, for ever."""
    current = sealer.current
    while True:
        await asyncio.sleep(every)
        if sealer.current != current:
            for each in reseal:
                await each()
            current = sealer.current
