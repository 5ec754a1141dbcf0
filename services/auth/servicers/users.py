"""UserService: wire in, wire out."""

from dataclasses import dataclass
from typing import Any

import grpc

from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.auth.v1 import user_service_pb2_grpc as pb_grpc
from services.auth import converters as convert
from services.auth.use_cases import passwords, second_factors, users
from services.runtime.errors import PageTokenInvalid
from services.runtime.identity import current_user
from services.runtime.pagination import decode_page_token, encode_page_token

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100


@dataclass(frozen=True)
class UserUseCases:
    """What UserService can do."""

    create_user: users.CreateUser
    create_first_admin: users.CreateFirstAdmin
    get_user: users.GetUser
    list_users: users.ListUsers
    update_user: users.UpdateUser
    disable_user: users.DisableUser
    enable_user: users.EnableUser
    delete_user: users.DeleteUser
    change_password: passwords.ChangePassword
    reset_password: passwords.ResetPassword
    enroll_totp: second_factors.EnrollTotp
    confirm_totp: second_factors.ConfirmTotp
    remove_totp: second_factors.RemoveTotp
    reset_totp: second_factors.ResetTotp


class UserServicer(pb_grpc.UserServiceServicer):
    """See the contract."""

    def __init__(self, use_cases: UserUseCases) -> None:
        self._do = use_cases

    async def GetCurrentUser(self, request: pb.GetCurrentUserRequest, context: Context) -> pb.GetCurrentUserResponse:
        user = await self._do.get_user(current_user().user_id)
        return pb.GetCurrentUserResponse(user=convert.user_to_pb(user))

    async def CreateUser(self, request: pb.CreateUserRequest, context: Context) -> pb.CreateUserResponse:
        roles, tier = convert.roles_from_pb(request.roles), convert.tier_from_pb(request.rate_tier)
        user = await self._do.create_user(request.username, request.password, roles, tier)
        return pb.CreateUserResponse(user=convert.user_to_pb(user))

    async def GetUser(self, request: pb.GetUserRequest, context: Context) -> pb.GetUserResponse:
        return pb.GetUserResponse(user=convert.user_to_pb(await self._do.get_user(request.user_id)))

    async def ListUsers(self, request: pb.ListUsersRequest, context: Context) -> pb.ListUsersResponse:
        found, go_on_after = await self._do.list_users(_after(request), request.page_size or _PAGE_SIZE)
        return pb.ListUsersResponse(
            users=map(convert.user_to_pb, found),
            next_page_token=encode_page_token([go_on_after], request) if go_on_after else "",
        )

    async def UpdateUser(self, request: pb.UpdateUserRequest, context: Context) -> pb.UpdateUserResponse:
        roles, tier = convert.changed_rights_from_pb(request)
        user = await self._do.update_user(request.user_id, roles=roles, given_tier=tier)
        return pb.UpdateUserResponse(user=convert.user_to_pb(user))

    async def DisableUser(self, request: pb.DisableUserRequest, context: Context) -> pb.DisableUserResponse:
        return pb.DisableUserResponse(user=convert.user_to_pb(await self._do.disable_user(request.user_id)))

    async def EnableUser(self, request: pb.EnableUserRequest, context: Context) -> pb.EnableUserResponse:
        return pb.EnableUserResponse(user=convert.user_to_pb(await self._do.enable_user(request.user_id)))

    async def DeleteUser(self, request: pb.DeleteUserRequest, context: Context) -> pb.DeleteUserResponse:
        await self._do.delete_user(request.user_id)
        return pb.DeleteUserResponse()

    async def ChangePassword(self, request: pb.ChangePasswordRequest, context: Context) -> pb.ChangePasswordResponse:
        caller = current_user()
        await self._do.change_password(
            caller.user_id, caller.session_id, request.current_password, request.new_password
        )
        return pb.ChangePasswordResponse()

    async def ResetPassword(self, request: pb.ResetPasswordRequest, context: Context) -> pb.ResetPasswordResponse:
        return pb.ResetPasswordResponse(password=await self._do.reset_password(request.user_id))

    async def EnrollTotp(self, request: pb.EnrollTotpRequest, context: Context) -> pb.EnrollTotpResponse:
        uri = await self._do.enroll_totp(current_user().user_id, request.current_password)
        return convert.enrolment_to_pb(uri)

    async def ConfirmTotp(self, request: pb.ConfirmTotpRequest, context: Context) -> pb.ConfirmTotpResponse:
        codes = await self._do.confirm_totp(current_user().user_id, request.code)
        return pb.ConfirmTotpResponse(recovery_codes=codes)

    async def RemoveTotp(self, request: pb.RemoveTotpRequest, context: Context) -> pb.RemoveTotpResponse:
        await self._do.remove_totp(current_user().user_id, request.second_factor)
        return pb.RemoveTotpResponse()

    async def ResetTotp(self, request: pb.ResetTotpRequest, context: Context) -> pb.ResetTotpResponse:
        return pb.ResetTotpResponse(user=convert.user_to_pb(await self._do.reset_totp(request.user_id)))

    async def CreateFirstAdmin(
        self, request: pb.CreateFirstAdminRequest, context: Context
    ) -> pb.CreateFirstAdminResponse:
        user = await self._do.create_first_admin(request.username, request.password)
        return pb.CreateFirstAdminResponse(user=convert.user_to_pb(user))


def _after(request: pb.ListUsersRequest) -> str:
    """The name after which the page begins."""
    if not request.page_token:
        return ""
    match decode_page_token(request.page_token, request):
        case [name]:
            return name
    raise PageTokenInvalid("page_token is not from this listing")
