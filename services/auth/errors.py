"""What can go wrong with users, as callers see it."""

from services.runtime.errors import AlreadyExists, FailedPrecondition, NotFound, Unauthenticated


class CredentialsInvalid(Unauthenticated):
    """The user name or the password is wrong; which of them is not told."""

    reason = "CREDENTIALS_INVALID"

    def __init__(self) -> None:
        super().__init__("the user name or the password is wrong")


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
