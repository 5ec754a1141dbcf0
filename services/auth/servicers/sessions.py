"""AuthService: wire in, wire out."""

from collections.abc import Sequence
from typing import Any

import grpc

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from levimesh.auth.v1 import user_pb2
from services.auth import converters as convert
from services.auth.use_cases.sessions import Login

Context = grpc.aio.ServicerContext[Any, Any]


class AuthServicer(pb_grpc.AuthServiceServicer):
    """See the contract."""

    def __init__(self, login: Login, public_keys: Sequence[user_pb2.JsonWebKey]) -> None:
        self._login = login
        self._public_keys = public_keys

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        token, user = await self._login(request.username, request.password)
        return convert.login_to_pb(token, user)

    async def GetJwks(self, request: pb.GetJwksRequest, context: Context) -> pb.GetJwksResponse:
        return pb.GetJwksResponse(keys=self._public_keys)
