"""AuthService: wire in, wire out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from services.auth import session_converters as convert
from services.auth.domain.sessions import Origin
from services.auth.domain.tokens import PublicKey
from services.auth.ports.sessions import Revocations
from services.auth.use_cases.sessions import (
    ListSessions,
    Login,
    Logout,
    LogoutEverywhere,
    RefreshSession,
    RevokeSession,
)
from services.runtime.identity import current_caller, current_user
from services.runtime.pagination import decode_page_token, encode_page_token

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100


@dataclass(frozen=True)
class SessionUseCases:
    """What AuthService does."""

    login: Login
    refresh_session: RefreshSession
    logout: Logout
    logout_everywhere: LogoutEverywhere
    list_sessions: ListSessions
    revoke_session: RevokeSession


class AuthServicer(pb_grpc.AuthServiceServicer):
    """See the contract."""

    def __init__(
        self,
        use_cases: SessionUseCases,
        revocations: Revocations,
        public_keys: Callable[[], Sequence[PublicKey]],
    ) -> None:
        self._do = use_cases
        self._revocations = revocations
        self._public_keys = public_keys

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        caller = current_caller()
        origin = Origin(caller.address, caller.user_agent)
        tokens, user = await self._do.login(request.username, request.password, request.second_factor, origin)
        return convert.login_to_pb(tokens, user)

    async def RefreshSession(self, request: pb.RefreshSessionRequest, context: Context) -> pb.RefreshSessionResponse:
        return convert.refresh_to_pb(await self._do.refresh_session(request.refresh_token, request.request_id.lower()))

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        user = current_user()
        await self._do.logout(user.user_id, user.session_id)
        return pb.LogoutResponse()

    async def LogoutEverywhere(
        self, request: pb.LogoutEverywhereRequest, context: Context
    ) -> pb.LogoutEverywhereResponse:
        return pb.LogoutEverywhereResponse(sessions_ended=await self._do.logout_everywhere(current_user().user_id))

    async def ListSessions(self, request: pb.ListSessionsRequest, context: Context) -> pb.ListSessionsResponse:
        user = current_user()
        after = convert.position_from(decode_page_token(request.page_token, request)) if request.page_token else None
        found, last = await self._do.list_sessions(user.user_id, after, request.page_size or _PAGE_SIZE)
        return pb.ListSessionsResponse(
            sessions=[convert.session_to_pb(session, user.session_id) for session in found],
            next_page_token=encode_page_token(convert.position_of(last), request) if last else "",
        )

    async def RevokeSession(self, request: pb.RevokeSessionRequest, context: Context) -> pb.RevokeSessionResponse:
        await self._do.revoke_session(current_user().user_id, request.session_id)
        return pb.RevokeSessionResponse()

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return pb.GetJwksResponse(keys=map(convert.key_to_pb, self._public_keys()))

    async def ListRevocations(self, request: pb.ListRevocationsRequest, context: Context) -> pb.ListRevocationsResponse:
        return convert.revocations_to_pb(await self._revocations.current())
