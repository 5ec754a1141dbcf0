"""What is done with users, one callable each."""

from collections.abc import Callable, Sequence
from uuid import UUID

from services.auth.domain.users import Account, Role, User, login_name
from services.auth.errors import AdminExists, UserNotFound
from services.auth.ports.users import Passwords, Users
from services.runtime.clock import Clock

NewId = Callable[[], UUID]


class CreateUser:
    """Add a user who can log in at once."""

    def __init__(self, users: Users, passwords: Passwords, now: Clock, new_id: NewId) -> None:
        self._users = users
        self._passwords = passwords
        self._now = now
        self._new_id = new_id

    async def __call__(self, username: str, password: str, roles: frozenset[Role]) -> User:
        user = User(str(self._new_id()), login_name(username), roles, self._now())
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
