"""What is done with users, one callable each."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.auth.domain.users import Account, RateTier, Role, Unchanged, User, login_name
from services.auth.errors import AdminExists, UserNotFound
from services.auth.ports.sessions import Sessions
from services.auth.ports.users import LoginGuard, Passwords, Users
from services.runtime.clock import Clock

NewId = Callable[[], UUID]


class CreateUser:
    """Add a user who can log in at once."""

    def __init__(self, users: Users, passwords: Passwords, now: Clock, new_id: NewId) -> None:
        self._users = users
        self._passwords = passwords
        self._now = now
        self._new_id = new_id

    async def __call__(
        self, username: str, password: str, roles: frozenset[Role], given_tier: RateTier | None = None
    ) -> User:
        user = User(str(self._new_id()), login_name(username), roles, self._now(), given_tier=given_tier)
        await self._users.add(Account(user, await self._passwords.hash(password)))
        return user


class CreateFirstAdmin:
    """Create the admin of a mesh that has none; for the same name and password again, return that admin."""

    def __init__(self, users: Users, passwords: Passwords, now: Clock, new_id: NewId) -> None:
        self._users = users
        self._passwords = passwords
        self._now = now
        self._new_id = new_id

    async def __call__(self, username: str, password: str) -> User:
        user = User(str(self._new_id()), login_name(username), frozenset({Role.ADMIN}), self._now())
        if await self._users.add_first_admin(Account(user, await self._passwords.hash(password))):
            return user
        known = await self._users.by_name(username)
        matches = await self._passwords.matches(password, known.password_hash if known else None)
        if known is None or not matches or Role.ADMIN not in known.user.roles:
            raise AdminExists
        return known.user


class GetUser:
    """Find one user by id."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def __call__(self, user_id: str) -> User:
        user = await self._users.by_id(user_id)
        if user is None:
            raise UserNotFound(user_id)
        return user


class ListUsers:
    """A page of users by user name."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def __call__(self, after: str, size: int) -> tuple[Sequence[User], str]:
        """At most ``size`` users after the name ``after``, and the name to go on after ("" when these are the last)."""
        users = await self._users.page(after, size + 1)
        return users[:size], users[size - 1].username if len(users) > size else ""


class UpdateUser:
    """Change the roles or the rate tier of a user; tokens with the rights so far are revoked."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def __call__(
        self,
        user_id: str,
        *,
        roles: frozenset[Role] | None = None,
        given_tier: RateTier | Unchanged | None = Unchanged.UNCHANGED,
    ) -> User:
        return await self._users.change(user_id, lambda user: user.with_rights(roles=roles, given_tier=given_tier))


class DisableUser:
    """Keep a user from logging in, and end the user's sessions and tokens."""

    def __init__(self, users: Users, sessions: Sessions, now: Clock) -> None:
        self._users = users
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str) -> User:
        user = await self._users.change(user_id, lambda user: user.with_rights(disabled=True))
        await self._sessions.end_all_of_user(user_id, self._now())
        return user


class EnableUser:
    """Let a user log in again, and forget failed logins."""

    def __init__(self, users: Users, guard: LoginGuard) -> None:
        self._users = users
        self._guard = guard

    async def __call__(self, user_id: str) -> User:
        user = await self._users.change(user_id, lambda user: user.with_rights(disabled=False))
        await self._guard.forget(user.username)
        return user


class DeleteUser:
    """Remove a user with everything that belongs to the user."""

    def __init__(self, users: Users) -> None:
        self._users = users

    async def __call__(self, user_id: str) -> None:
        await self._users.remove(user_id)
