"""What can go wrong with users, as callers see it."""

import math

from services.runtime.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)


class CredentialsInvalid(Unauthenticated):
    """The user name, the password or the code is wrong; which of them is not told."""

    reason = "CREDENTIALS_INVALID"

    def __init__(self) -> None:
        super().__init__("the user name or the password is wrong")


class SecondFactorRequired(Unauthenticated):
    """The password is right, and the user has a second factor."""

    reason = "SECOND_FACTOR_REQUIRED"

    def __init__(self) -> None:
        super().__init__("you have a second factor; send its code too")


class RefreshTokenInvalid(Unauthenticated):
    """The refresh token is not known, has expired, or its session has ended; which of them is not told."""

    reason = "REFRESH_TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("the refresh token is not good, or its session has ended; log in again")


class RefreshTokenReused(Unauthenticated):
    """The refresh token was used before."""

    reason = "REFRESH_TOKEN_REUSED"

    def __init__(self, *, ended: bool) -> None:
        if ended:
            super().__init__(
                "the refresh token was used before, by you or by a thief; its session has ended, log in again"
            )
        else:
            super().__init__("the refresh token was used a moment ago; go on with the one that was given for it")


class SessionNotFound(NotFound):
    """The caller has no such session."""

    reason = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"there is no session {session_id}", session_id=session_id)


class UsernameTaken(AlreadyExists):
    """Another user has the name."""

    reason = "USERNAME_TAKEN"

    def __init__(self, username: str) -> None:
        super().__init__(f"the user name {username} is taken; choose another", username=username)


class UserNotFound(NotFound):
    """There is no such user."""

    reason = "USER_NOT_FOUND"

    def __init__(self, user_id: str) -> None:
        super().__init__(f"there is no user {user_id}", user_id=user_id)


class AdminExists(FailedPrecondition):
    """The mesh has an admin already."""

    reason = "ADMIN_EXISTS"

    def __init__(self) -> None:
        super().__init__("an admin exists already; log in as an admin and create users with CreateUser")


class LoginLocked(ResourceExhausted):
    """Too many logins with this name failed, whether or not somebody has it."""

    reason = "LOGIN_LOCKED"

    def __init__(self, seconds: float) -> None:
        super().__init__(f"too many logins with this name failed; try again in {math.ceil(seconds)} s")
        self.retry_after = seconds


class LastAdmin(FailedPrecondition):
    """The mesh would be left without an enabled admin."""

    reason = "LAST_ADMIN"

    def __init__(self, user_id: str) -> None:
        super().__init__("this is the last enabled admin; make another user an admin first", user_id=user_id)


class TotpEnrolled(FailedPrecondition):
    """The user has a second factor already."""

    reason = "TOTP_ENROLLED"

    def __init__(self) -> None:
        super().__init__("you have a second factor already; remove it first")


class TotpNotEnrolled(FailedPrecondition):
    """The user has no second factor, or has not begun to enrol one."""

    reason = "TOTP_NOT_ENROLLED"

    def __init__(self) -> None:
        super().__init__("there is no second factor; begin with EnrollTotp")


class CodeInvalid(InvalidArgument):
    """The code of the second factor is wrong, or was used before."""

    reason = "CODE_INVALID"

    def __init__(self) -> None:
        super().__init__("the code is wrong or was used before; wait for the next one")


class ExternalTokenInvalid(Unauthenticated):
    """A token of another issuer is not good: altered, expired, for somebody else, or of an issuer that is not known."""

    reason = "TOKEN_INVALID"

    def __init__(self) -> None:
        super().__init__("the access token is not one of this mesh, nor of an issuer that it trusts; log in again")


class ExternalRoleMissing(PermissionDenied):
    """A person whom another issuer vouches for has no role here."""

    reason = "ROLE_NOT_ALLOWED"

    def __init__(self) -> None:
        super().__init__("none of your roles at the issuer of the token is a role here; ask an admin for one")


class IssuerUnavailable(Unavailable):
    """The keys of another issuer cannot be had."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = 30.0


class ApiKeyInvalid(Unauthenticated):
    """The API key is not known, has expired, was revoked, or its owner is disabled; which of these is not told."""

    reason = "API_KEY_INVALID"

    def __init__(self) -> None:
        super().__init__("the API key is not known, has expired or was revoked; ask its owner for another")


class AddressNotAllowed(PermissionDenied):
    """The API key is good, and not from where it is used."""

    reason = "ADDRESS_NOT_ALLOWED"

    def __init__(self, address: str) -> None:
        super().__init__(f"the API key may not be used from {address or 'an unknown address'}", address=address)


class ApiKeyNotFound(NotFound):
    """The caller has no such API key."""

    reason = "API_KEY_NOT_FOUND"

    def __init__(self, key_id: str) -> None:
        super().__init__(f"there is no API key {key_id}, or it has ended", key_id=key_id)


class TooManyApiKeys(FailedPrecondition):
    """The user has as many keys as one may have."""

    reason = "TOO_MANY_API_KEYS"

    def __init__(self, most: int) -> None:
        super().__init__(f"you have {most} API keys, and may not have more; revoke one first", most=str(most))


class GrantNotAllowed(PermissionDenied):
    """A key would have what its owner does not have."""

    reason = "GRANT_NOT_ALLOWED"


class CountingUnavailable(Unavailable):
    """Calls cannot be counted for all gateways together."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__("calls of this method cannot be counted now; try again in a second", part="redis")


class MethodUnknown(InvalidArgument):
    """No contract has a method of this path that users reach."""

    reason = "FIELD_VIOLATION"

    def __init__(self, method: str) -> None:
        super().__init__(f"there is no method {method} with a rate limit")
