"""Between the contract and the domain."""

from collections.abc import Iterable

from levimesh.auth.v1 import user_pb2, user_service_pb2
from levimesh.policy.v1 import policy_pb2
from services.auth.adapters.qr import QrCode
from services.auth.domain.users import RateTier, Role, Unchanged, User
from services.runtime import timestamps
from services.runtime.errors import FieldViolations


def user_to_pb(user: User) -> user_pb2.User:
    """The user as callers see it."""
    return user_pb2.User(
        user_id=user.user_id,
        username=user.username,
        roles=sorted(policy_pb2.Role.Value(role) for role in user.roles),
        create_time=timestamps.to_pb(user.create_time),
        disabled=user.disabled,
        totp_enrolled=user.totp_enrolled,
        rate_tier=tier_to_pb(user.rate_tier),
    )


def tier_to_pb(tier: RateTier) -> "policy_pb2.RateTier.ValueType":
    """The rate tier as callers see it."""
    return policy_pb2.RateTier.Value(f"RATE_TIER_{tier.name}")


def tier_from_pb(tier: "policy_pb2.RateTier.ValueType") -> RateTier | None:
    """The rate tier of a request; None for that of the role."""
    if tier == policy_pb2.RATE_TIER_UNSPECIFIED:
        return None
    return RateTier[policy_pb2.RateTier.Name(tier).removeprefix("RATE_TIER_")]


def roles_from_pb(roles: Iterable["policy_pb2.Role.ValueType"]) -> frozenset[Role]:
    """The roles of a request, which its rules have checked."""
    return frozenset(Role(policy_pb2.Role.Name(role)) for role in roles)


def changed_rights_from_pb(
    request: user_service_pb2.UpdateUserRequest,
) -> tuple[frozenset[Role] | None, RateTier | Unchanged | None]:
    """The roles and the rate tier that ``update_mask`` names. Raises FieldViolations for a mask that names others."""
    paths = set(request.update_mask.paths)
    if not paths or paths - {"roles", "rate_tier"}:
        raise FieldViolations({"update_mask": "must name roles, rate_tier or both, and nothing else"})
    if "roles" in paths and not request.roles:
        raise FieldViolations({"roles": "must have at least one role, as update_mask names it"})
    return (
        roles_from_pb(request.roles) if "roles" in paths else None,
        tier_from_pb(request.rate_tier) if "rate_tier" in paths else Unchanged.UNCHANGED,
    )


def enrolment_to_pb(otpauth_uri: str) -> user_service_pb2.EnrollTotpResponse:
    """What an authenticator needs, as text and as pictures."""
    code = QrCode(otpauth_uri)
    return user_service_pb2.EnrollTotpResponse(otpauth_uri=otpauth_uri, qr_png=code.png(), qr_text=code.blocks())
