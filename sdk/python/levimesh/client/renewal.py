"""How a client gets its next access token: by its session, its password or its API key."""

import base64
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import grpc
from google.api.httpbody_pb2 import HttpBody

from levimesh.auth.v1 import auth_service_pb2, oauth_service_pb2
from levimesh.client.errors import ProfileError, details
from levimesh.client.profile import Profile
from levimesh.client.session import InMemory, Keeper, Session
from levimesh.client.tokens import AccessToken

if TYPE_CHECKING:
    from levimesh.auth.v1.auth_service_pb2_grpc import AuthServiceAsyncStub
    from levimesh.auth.v1.oauth_service_pb2_grpc import OAuthServiceAsyncStub

_ENDED = {"ERROR_REASON_REFRESH_TOKEN_INVALID", "ERROR_REASON_REFRESH_TOKEN_REUSED"}
_CODE_NEEDED = "ERROR_REASON_SECOND_FACTOR_REQUIRED"
_FORM = "application/x-www-form-urlencoded"
_PUBLIC_PART = 11
"""Characters of an API key that are no secret: ``lm_`` and eight more."""


async def login(auth: "AuthServiceAsyncStub", username: str, password: str, second_factor: str = "") -> Session:
    """Begin a session. Raises grpc.aio.AioRpcError."""
    request = auth_service_pb2.LoginRequest(username=username, password=password, second_factor=second_factor)
    return _session(await auth.Login(request))


async def login_asking(auth: "AuthServiceAsyncStub", profile: Profile) -> Session:
    """Begin a session by the profile's password, and by a code for which it asks when the mesh wants one.

    Raises grpc.aio.AioRpcError.
    """
    try:
        return await login(auth, profile.username, profile.password)
    except grpc.aio.AioRpcError as error:
        if profile.second_factor is None or details(error).reason != _CODE_NEEDED:
            raise
        return await login(auth, profile.username, profile.password, await profile.second_factor())


class SessionRenewal:
    """Access tokens of a session, which is begun anew by the password, where there is one, after it has ended."""

    def __init__(self, auth: "AuthServiceAsyncStub", profile: Profile, now: Callable[[], float] = time.time) -> None:
        self._auth = auth
        self._profile = profile
        self._keeper: Keeper = profile.session_file or InMemory(profile.session)
        self._now = now

    async def __call__(self, refused: AccessToken | None) -> AccessToken:
        """A token of the session, perhaps one that another process was given. Raises ProfileError and AioRpcError."""
        if (token := self._usable(self._keeper.read(), refused)) is not None:
            return token
        async with self._keeper.locked():
            kept = self._keeper.read()
            if (token := self._usable(kept, refused)) is not None:
                return token
            session = await self._refreshed(kept) or await self._logged_in(kept)
            self._keeper.write(session)
        return AccessToken(session.access_token, session.expires_at)

    def _usable(self, kept: Session | None, refused: AccessToken | None) -> AccessToken | None:
        token = kept.token if kept is not None else None
        return token if token is not None and token != refused and token.is_fresh(self._now()) else None

    async def _refreshed(self, kept: Session | None) -> Session | None:
        """The next tokens of the session; None when it has ended."""
        if kept is None or not kept.refresh_token:
            return None
        if not kept.request_id:
            kept = replace(kept, request_id=str(uuid.uuid4()))
            self._keeper.write(kept)
        request = auth_service_pb2.RefreshSessionRequest(refresh_token=kept.refresh_token, request_id=kept.request_id)
        try:
            return _session(await self._auth.RefreshSession(request))
        except grpc.aio.AioRpcError as error:
            if details(error).reason not in _ENDED:
                raise
            return None

    async def _logged_in(self, kept: Session | None) -> Session:
        if self._profile.password:
            return await login_asking(self._auth, self._profile)
        if kept is not None:
            self._keeper.write(Session())  # what has ended is not sent again
        raise ProfileError(self._profile.without_session(has_ended=kept is not None))


class KeyRenewal:
    """Access tokens in exchange for an API key, at the token endpoint."""

    def __init__(self, oauth: "OAuthServiceAsyncStub", profile: Profile, now: Callable[[], float] = time.time) -> None:
        self._oauth = oauth
        self._profile = profile
        self._now = now

    async def __call__(self, _: AccessToken | None) -> AccessToken:
        """A token of the key. Raises ProfileError when the key is refused, and grpc.aio.AioRpcError."""
        key = self._profile.current_api_key()
        form = HttpBody(content_type=_FORM, data=urlencode({"grant_type": "client_credentials"}).encode())
        response = await self._oauth.Token(oauth_service_pb2.TokenRequest(form=form), metadata=_basic(key))
        answer: dict[str, Any] = json.loads(response.body.data)
        if "access_token" not in answer:
            why = answer.get("error_description") or answer.get("error")
            raise ProfileError(f"the API key {key[:_PUBLIC_PART]}… is refused at {self._profile.gateway}: {why}")
        return AccessToken(answer["access_token"], self._now() + float(answer["expires_in"]))


def _session(response: auth_service_pb2.LoginResponse | auth_service_pb2.RefreshSessionResponse) -> Session:
    lifetime = response.expires_in.ToTimedelta().total_seconds()
    return Session(response.access_token, time.time() + lifetime, response.refresh_token)


def _basic(key: str) -> tuple[tuple[str, str], ...]:
    proof = base64.b64encode(f"{key[:_PUBLIC_PART]}:{key}".encode()).decode()
    return (("authorization", f"Basic {proof}"),)
