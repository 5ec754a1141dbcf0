"""Between the contract and the domain."""

from collections.abc import Iterable

from google.protobuf import duration_pb2

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import user_pb2
from levimesh.policy.v1 import policy_pb2
from services.auth.domain.tokens import AccessToken
from services.auth.domain.users import Role, User
from services.runtime import timestamps


def user_to_pb(user: User) -> user_pb2.User:
    """The user as callers see it."""
    return user_pb2.User(
        user_id=user.user_id,
        username=user.username,
        roles=sorted(policy_pb2.Role.Value(role) for role in user.roles),
        create_time=timestamps.to_pb(user.create_time),
    )


def roles_from_pb(roles: Iterable["policy_pb2.Role.ValueType"]) -> frozenset[Role]:
    """The roles of a request, which its rules have checked."""
    return frozenset(Role(policy_pb2.Role.Name(role)) for role in roles)


def login_to_pb(token: AccessToken, user: User) -> pb.LoginResponse:
    """A successful login."""
    return pb.LoginResponse(
        access_token=token.text,
        token_type="Bearer",  # noqa: S106 - the name of a kind of token, not a secret
        expires_in=duration_pb2.Duration(seconds=token.seconds),
        user=user_to_pb(user),
    )
