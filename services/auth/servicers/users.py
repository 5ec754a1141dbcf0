"""UserService: wire in, wire out."""

from typing import Any

import grpc

from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.auth.v1 import user_service_pb2_grpc as pb_grpc
from services.auth import converters as convert
from services.auth.use_cases.users import CreateFirstAdmin, CreateUser, GetUser, ListUsers
from services.runtime.identity import current_user
from services.runtime.pagination import decode_page_token, encode_page_token

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100


class UserServicer(pb_grpc.UserServiceServicer):
    """See the contract."""

    def __init__(
        self,
        create_user: CreateUser,
        create_first_admin: CreateFirstAdmin,
        get_user: GetUser,
        list_users: ListUsers,
    ) -> None:
        self._create_user = create_user
        self._create_first_admin = create_first_admin
        self._get_user = get_user
        self._list_users = list_users

    async def GetCurrentUser(self, request: pb.GetCurrentUserRequest, context: Context) -> pb.GetCurrentUserResponse:
        user = await self._get_user(current_user().user_id)
        return pb.GetCurrentUserResponse(user=convert.user_to_pb(user))

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        user = await self._create_user(request.username, request.password, convert.roles_from_pb(request.roles))
        return pb.CreateUserResponse(user=convert.user_to_pb(user))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        return pb.GetUserResponse(user=convert.user_to_pb(await self._get_user(request.user_id)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        (after,) = decode_page_token(request.page_token, request) if request.page_token else ("",)
        users, go_on_after = await self._list_users(after, request.page_size or _PAGE_SIZE)
        return pb.ListUsersResponse(
            users=map(convert.user_to_pb, users),
            next_page_token=encode_page_token([go_on_after], request) if go_on_after else "",
        )

    async def CreateFirstAdmin(
        self, request: pb.CreateFirstAdminRequest, context: Context
    ) -> pb.CreateFirstAdminResponse:
        user = await self._create_first_admin(request.username, request.password)
        return pb.CreateFirstAdminResponse(user=convert.user_to_pb(user))
