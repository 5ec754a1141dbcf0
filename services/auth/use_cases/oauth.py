"""What OAuth 2.0 grants, one callable each."""

import base64
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import UUID

from services.auth.domain.api_keys import prefix_of
from services.auth.domain.oauth import (
    CODE_SECONDS,
    GRANTS,
    Asked,
    AuthorizationCode,
    AuthorizationRequest,
    OAuthError,
    hash_of_code,
    invalid_code,
    scopes_asked,
)
from services.auth.domain.sessions import Origin
from services.auth.domain.tokens import AccessToken, Identity, scopes_of_roles
from services.auth.errors import (
    AddressNotAllowed,
    ApiKeyInvalid,
    CredentialsInvalid,
    RefreshTokenInvalid,
    RefreshTokenReused,
)
from services.auth.ports.oauth import Codes, CodeUse, IdTokens
from services.auth.ports.sessions import Sessions, Tokens
from services.auth.ports.users import Users
from services.auth.use_cases.api_keys import AuthenticateApiKey
from services.auth.use_cases.sessions import Authenticate, BeginSession, RefreshSession
from services.runtime.audit import AuditLog, Outcome, tell_audit
from services.runtime.clock import Clock

_LONGEST_NAME, _LONGEST_PASSWORD, _LONGEST_SECOND_FACTOR = 64, 256, 32
"""As in the contract of Login."""


@dataclass(frozen=True)
class Granted:
    """What the token endpoint gives."""

    access_token: AccessToken
    refresh_token: str | None = None
    scope: str = ""
    """What the access token is good for, with spaces between; "" where it has not changed."""
    id_token: str | None = None


@dataclass(frozen=True, repr=False)
class ClientSecret:
    """What a client proves itself by: the prefix of an API key, and the key."""

    client_id: str
    secret: str


class GrantToApiKey:
    """``client_credentials``: a token for an API key, or for less than it may do."""

    def __init__(self, authenticate: AuthenticateApiKey, tokens: Tokens, now: Clock) -> None:
        self._authenticate = authenticate
        self._tokens = tokens
        self._now = now

    async def __call__(self, client: ClientSecret | None, scope: str, address: str) -> Granted:
        if client is None or prefix_of(client.secret) != client.client_id:
            raise _unknown_client()
        asked = scopes_asked(scope)
        try:
            grant = await self._authenticate(client.secret, address)
        except ApiKeyInvalid as error:
            raise _unknown_client() from error
        except AddressNotAllowed as error:
            raise OAuthError("unauthorized_client", "the API key may not be used from this address") from error
        tell_audit(actor=grant.user.user_id, session_id=grant.session_id)
        scopes = grant.scopes or frozenset()
        if not asked <= scopes:
            raise OAuthError("invalid_scope", "the API key does not have all of these scopes")
        scopes = asked or scopes
        return Granted(self._tokens.issue(replace(grant, scopes=scopes), self._now()), scope=" ".join(sorted(scopes)))


class GrantToSession:
    """``refresh_token``: the next tokens of a session."""

    def __init__(self, refresh_session: RefreshSession, new_id: Callable[[], UUID]) -> None:
        self._refresh_session = refresh_session
        self._new_id = new_id

    async def __call__(self, refresh_token: str, request_id: str) -> Granted:
        """``request_id`` is that of the exchange; "" when it is not going to be retried."""
        try:
            exchange = str(UUID(request_id)) if request_id else str(self._new_id())
        except ValueError as error:
            raise OAuthError("invalid_request", "request_id has to be a UUID") from error
        try:
            tokens = await self._refresh_session(refresh_token, exchange)
        except (RefreshTokenInvalid, RefreshTokenReused) as error:
            raise OAuthError("invalid_grant", str(error)) from error
        return Granted(tokens.access_token, tokens.refresh_token)


class Authorize:
    """Log a person in for a client, which gets a code for it."""

    def __init__(
        self, authenticate: Authenticate, codes: Codes, now: Clock, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._authenticate = authenticate
        self._codes = codes
        self._now = now
        self._random_bytes = random_bytes

    async def __call__(self, request: AuthorizationRequest, username: str, password: str, second_factor: str) -> str:
        """The code. Raises as Authenticate does."""
        if (
            not 0 < len(username) <= _LONGEST_NAME
            or not 0 < len(password) <= _LONGEST_PASSWORD
            or len(second_factor) > _LONGEST_SECOND_FACTOR
            or "\0" in username + second_factor
        ):
            raise CredentialsInvalid
        before = self._now()
        user = await self._authenticate(username, password, second_factor)
        tell_audit(actor=user.user_id)
        code = base64.urlsafe_b64encode(self._random_bytes(32)).rstrip(b"=").decode()
        await self._codes.add(
            AuthorizationCode(
                hash_of_code(code),
                request.client_id,
                request.redirect_uri,
                request.code_challenge,
                request.scope,
                request.nonce,
                user.user_id,
                # From before the proof: whatever ends the user's sessions meanwhile makes the code worthless.
                before + timedelta(seconds=CODE_SECONDS),
            )
        )
        return code


class GrantToCode:
    """``authorization_code``: a session for a code, once, limited to what the client has asked for.

    Whatever comes of the first use, a second one is refused and ends the session that came of it (RFC 6749, 4.1.2).
    """

    def __init__(
        self,
        codes: Codes,
        users: Users,
        begin_session: BeginSession,
        sessions: Sessions,
        id_tokens: IdTokens,
        audit: AuditLog,
        now: Clock,
    ) -> None:
        self._codes = codes
        self._users = users
        self._begin_session = begin_session
        self._sessions = sessions
        self._id_tokens = id_tokens
        self._audit = audit
        self._now = now

    async def __call__(self, client_id: str, redirect_uri: str, code: str, verifier: str, origin: Origin) -> Granted:
        code_hash = hash_of_code(code)
        use = await self._codes.use(code_hash)
        if use is None:
            raise invalid_code()
        if not use.first:
            await self._end(use, use.session_id)
            raise invalid_code()
        use.code.check(client_id, redirect_uri, verifier, self._now())
        user = await self._users.by_id(use.code.user_id)
        if user is None or user.disabled:
            raise invalid_code()
        proved, asked = use.code.expire_time - timedelta(seconds=CODE_SECONDS), Asked.parse(use.code.scope)
        try:
            tokens = await self._begin_session(user, origin, proved, asked.scopes)
        except CredentialsInvalid as error:
            raise invalid_code() from error
        if not await self._codes.came_to(code_hash, tokens.session_id):
            await self._end(use, tokens.session_id)
        scopes = scopes_of_roles(user.roles) if asked.scopes is None else sorted(asked.scopes)
        granted = Granted(tokens.access_token, tokens.refresh_token, " ".join(scopes))
        if not asked.id_token:
            return granted
        identity = Identity(user, client_id, tokens.session_id, proved, use.code.nonce)
        return replace(granted, id_token=self._id_tokens.identify(identity, self._now()))

    async def _end(self, use: CodeUse, session_id: str | None) -> None:
        """What a second use leads to; when the first one is not done yet, that sees to it."""
        if session_id is None:
            return
        if await self._sessions.end(session_id, use.code.user_id, self._now()):
            await self._audit.record(
                "authorization_code_reused",
                actor=use.code.user_id,
                outcome=Outcome.DENIED,
                session_id=session_id,
                subject={"client_id": use.code.client_id},
            )


class GiveTokens:
    """The token endpoint: whatever grant a client asks for."""

    def __init__(
        self, clients: Collection[str], to_api_key: GrantToApiKey, to_session: GrantToSession, to_code: GrantToCode
    ) -> None:
        self._clients = clients
        self._to_api_key = to_api_key
        self._to_session = to_session
        self._to_code = to_code

    async def __call__(self, form: Mapping[str, str], client: ClientSecret | None, origin: Origin) -> Granted:
        """Raises OAuthError, as each grant does."""
        match _needed(form, "grant_type"):
            case "client_credentials":
                return await self._to_api_key(client, form.get("scope", ""), origin.address)
            case "refresh_token":
                if "scope" in form:
                    raise OAuthError("invalid_scope", "the scope of a session cannot be changed")
                return await self._to_session(_needed(form, "refresh_token"), form.get("request_id", ""))
            case "authorization_code":
                if _needed(form, "client_id") not in self._clients or client is not None:
                    raise _unknown_client()
                redirect_uri, code, verifier = (
                    _needed(form, name) for name in ("redirect_uri", "code", "code_verifier")
                )
                return await self._to_code(form["client_id"], redirect_uri, code, verifier, origin)
            case _:
                raise OAuthError("unsupported_grant_type", f"the grant types are {', '.join(GRANTS)}")


def _needed(form: Mapping[str, str], name: str) -> str:
    if name not in form:
        raise OAuthError("invalid_request", f"{name} is missing")
    return form[name]


def _unknown_client() -> OAuthError:
    return OAuthError("invalid_client", "the client, or its API key, is not known, has expired or was revoked")
