"""Who calls: the workload by its certificate, the user by the access token."""

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from services.runtime.errors import PermissionDenied, Unauthenticated
from services.runtime.policy import Policy
from services.runtime.tokens import TokenVerifier, User

Headers = Mapping[str, str | bytes]

TRUST_DOMAIN = "spiffe://levimesh/"
GATEWAY = "gateway"
ADDRESS_HEADER = "x-levimesh-address"
"""Where the gateway says which address a call came from."""
LONGEST_USER_AGENT = 256


class TokenMissing(Unauthenticated):
    """The call needs a user and carries no access token."""

    reason = "TOKEN_MISSING"


class RoleNotAllowed(PermissionDenied):
    """The user is known and has none of the roles."""

    reason = "ROLE_NOT_ALLOWED"


class ScopeMissing(PermissionDenied):
    """The token is limited to scopes of which none is enough."""

    reason = "SCOPE_MISSING"


class CallerNotAllowed(PermissionDenied):
    """The workload is not one that may call."""

    reason = "CALLER_NOT_ALLOWED"


@dataclass(frozen=True)
class Caller:
    """Who calls: always a workload, and a user when it passes on a user's call."""

    workload: str
    user: User | None
    address: str = ""
    """Where the call came into the mesh from, as the gateway saw it; "" for a call from inside."""
    user_agent: str = ""
    """What the client calls itself; "" for a call from inside."""


_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> Caller:
    """Who made the call that is being served. Only inside a call."""
    return _caller.get()


def current_user() -> User:
    """The user whose call is being served. Only in methods whose policy asks for a role."""
    user = _caller.get().user
    if user is None:
        raise TokenMissing("this method acts for a user; send `authorization: Bearer <access token>`")
    return user


def set_caller(caller: Caller) -> None:
    """Make ``caller`` the one of this call; for the server's identity stage."""
    _caller.set(caller)


def workload_of(names: Iterable[bytes]) -> str:
    """The workload that a certificate's subject alternative names tell, or "" when none is of this mesh."""
    for name in names:
        text = name.decode("ascii", "replace")
        if text.startswith(TRUST_DOMAIN):
            return text.removeprefix(TRUST_DOMAIN)
    return ""


def authorize(
    policy: Policy, workload: str, token: str | None, verifier: TokenVerifier, headers: Headers | None = None
) -> Caller:
    """Decide by ``policy`` whether ``workload``, with or without a user's ``token``, may call.

    Raises CallerNotAllowed, TokenMissing, TokenInvalid, TokenExpired, SessionEnded, RoleNotAllowed or ScopeMissing.
    """
    if token is None and workload in policy.service_callers:
        return Caller(workload, None)
    if workload not in policy.callers:
        raise CallerNotAllowed(
            f"workload {workload or 'without a certificate of this mesh'} may not call {policy.method}"
        )
    origin = _origin(workload, headers)
    if policy.public:
        return Caller(workload, None, *origin)
    if token is None:
        raise TokenMissing("log in and send `authorization: Bearer <access token>`")
    user = verifier.verify(token)
    if not user.roles & policy.roles:
        allowed = ", ".join(sorted(policy.roles))
        raise RoleNotAllowed(f"this needs one of the roles {allowed}", allowed_roles=allowed)
    if user.scopes is not None and not user.scopes & policy.scopes:
        required = ", ".join(sorted(policy.scopes))
        needed = f"one of the scopes {required}" if required else "somebody who has logged in; an API key is not enough"
        raise ScopeMissing(f"this needs {needed}", required_scopes=required)
    return Caller(workload, user, *origin)


def _origin(workload: str, headers: Headers | None) -> tuple[str, str]:
    """The address and the client of a call from outside, which only the gateway can know."""
    if headers is None or workload != GATEWAY:
        return "", ""
    return str(headers.get(ADDRESS_HEADER, "")), str(headers.get("user-agent", ""))[:LONGEST_USER_AGENT]
