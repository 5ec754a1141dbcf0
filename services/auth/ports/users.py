"""Users, and what proves who they are."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from services.auth.domain.totp import CodeUse
from services.auth.domain.users import Account, User


class Users(Protocol):
    """Where users are kept. A user name is unique regardless of case."""

    async def add(self, account: Account) -> None:
        """Keep a new user. Raises UsernameTaken."""

    async def add_first_admin(self, account: Account) -> bool:
        """Keep a new admin unless there is any admin; says whether it was kept. Of several at once one is.

        Raises UsernameTaken when somebody who is no admin has the name.
        """

    async def by_name(self, username: str) -> Account | None:
        """The account with this user name, in any case."""

    async def by_id(self, user_id: str) -> User | None:
        """The user with this id."""

    async def page(self, after: str, limit: int) -> Sequence[User]:
        """At most ``limit`` users by user name, those after ``after`` ("" for the first)."""

    async def change(self, user_id: str, change: Callable[[User], User]) -> User:
        """Keep what ``change`` makes of the user, and return it; tokens with other rights are revoked.

        Raises UserNotFound, and LastAdmin when the mesh would be left without an enabled admin, also of two changes
        at once.
        """

    async def remove(self, user_id: str) -> None:
        """Forget the user with all that belongs to it, and revoke the tokens. Raises what ``change`` raises."""

    async def set_password_hash(self, user_id: str, password_hash: str, *, instead_of: str | None = None) -> bool:
        """Keep another hash, only in place of ``instead_of`` if that is given; says whether it was kept."""


class Passwords(Protocol):
    """Slow, salted hashes of passwords. ``hash`` and ``matches`` raise Overloaded rather than queue without bound."""

    async def hash(self, password: str) -> str:
        """A hash to keep."""

    async def matches(self, password: str, known_hash: str | None) -> bool:
        """Whether ``known_hash`` was made from ``password``.

        For None (there is no such user) the answer is False after the same work, so that the time tells nothing.
        """

    def outdated(self, known_hash: str) -> bool:
        """Whether ``known_hash`` was made with other parameters than hashes are made with now."""


class Turns(Protocol):
    """Lets a few go at a time, and others wait for them."""

    def __call__(self) -> AbstractAsyncContextManager[None]:
        """One turn, once it comes. Entering raises Overloaded when too many wait."""


class LoginGuard(Protocol):
    """Counts failed logins by user name, whether there is such a user or not, and locks the name for a while.

    The lock is asked for before and after: of many guesses that run at once, those that end after the name was locked
    learn nothing, right or wrong.
    """

    async def check(self, username: str) -> None:
        """Called before anything is looked at. Raises LoginLocked while the name is locked."""

    async def failed(self, username: str) -> None:
        """A password or a second factor was wrong. Raises LoginLocked when the name is locked by now."""

    async def succeeded(self, username: str) -> None:
        """The user is who they say: failures are forgotten. Raises LoginLocked when the name is locked by now."""

    async def forget(self, username: str) -> None:
        """Failures so far are forgotten, and the lock with them."""


class SecondFactors(Protocol):
    """The second factors of users."""

    async def required(self, user: User) -> bool:
        """Whether ``user`` needs one to log in."""

    async def use(self, user: User, code: str) -> CodeUse:
        """Whether ``code`` is right now, or is a recovery code; it is used up then. Of several at once one is right.

        Only a wrong one is a failed login, lest uses of one code at once lock each other out.
        """
