"""Puts the parts together that speak OAuth 2.0, and those that take tokens of other issuers."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncEngine

from services.auth.adapters.authorization_codes import SqlCodes
from services.auth.adapters.external_people import SqlExternalPeople
from services.auth.adapters.oidc import open_oidc
from services.auth.domain.external import Issuer
from services.auth.domain.oauth import Client
from services.auth.domain.users import Role
from services.auth.oauth_settings import ExternalIssuer
from services.auth.people import People
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Users
from services.auth.servicers.oauth import OAuthServicer
from services.auth.sessions import Issuing, SessionParts
from services.auth.settings import AuthSettings
from services.auth.use_cases.api_keys import AuthenticateApiKey
from services.auth.use_cases.external import ExchangeExternalToken
from services.auth.use_cases.oauth import Authorize, GiveTokens, GrantToApiKey, GrantToCode, GrantToSession
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock


def oauth_servicer(
    settings: AuthSettings,
    engine: AsyncEngine,
    people: People,
    parts: SessionParts,
    authenticate_api_key: AuthenticateApiKey,
    issuing: Issuing,
    audit: AuditLog,
    now: Clock,
    new_id: Callable[[], UUID],
) -> OAuthServicer:
    """OAuthService, on what people and programs prove themselves by elsewhere too."""
    codes = SqlCodes(engine)
    clients = {name: Client(name, frozenset(uris)) for name, uris in settings.oauth_clients.items()}
    give_tokens = GiveTokens(
        clients,
        GrantToApiKey(authenticate_api_key, issuing.tokens, now),
        GrantToSession(parts.refresh_session, new_id),
        GrantToCode(codes, people.users, parts.begin_session, parts.sessions, issuing.id_tokens, audit, now),
    )
    authorize = Authorize(parts.authenticate, codes, now, secrets.token_bytes)
    return OAuthServicer(settings.token_issuer, clients, give_tokens, authorize)


@asynccontextmanager
async def open_external(
    settings: AuthSettings,
    engine: AsyncEngine,
    users: Users,
    tokens: Tokens,
    audit: AuditLog,
    now: Clock,
    new_id: Callable[[], UUID],
) -> AsyncIterator[ExchangeExternalToken]:
    """What takes the tokens of the issuers in ``settings``."""
    issuers = [(_issuer(each), each.jwks_uri, each.ca_file) for each in settings.external_issuers]
    async with open_oidc(issuers) as external:
        yield ExchangeExternalToken(external, SqlExternalPeople(engine, new_id), users, tokens, audit, now)


def _issuer(settings: ExternalIssuer) -> Issuer:
    roles = {theirs: Role[ours.upper()] for theirs, ours in settings.roles.items()}
    return Issuer(settings.issuer, settings.audience, settings.roles_claim, roles, settings.username_claim)
