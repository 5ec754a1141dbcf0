"""What is done with passwords, one callable each."""

from collections.abc import Callable
from dataclasses import replace

from services.auth.domain.users import Account
from services.auth.errors import CredentialsInvalid, UserNotFound
from services.auth.ports.sessions import Sessions
from services.auth.ports.users import LoginGuard, Passwords, Users
from services.runtime.clock import Clock


class ProvePassword:
    """Find the account of somebody who knows its password.

    Raises CredentialsInvalid, the same after the same work for a name that nobody has and for a user who is disabled,
    and LoginLocked. It is for the caller to tell the guard of success: there may be a second factor to come.
    """

    def __init__(self, users: Users, passwords: Passwords, guard: LoginGuard) -> None:
        self._users = users
        self._passwords = passwords
        self._guard = guard

    async def __call__(self, username: str, password: str) -> Account:
        await self._guard.check(username)
        account = await self._users.by_name(username)
        matches = await self._passwords.matches(password, account.password_hash if account else None)
        if account is None or not matches or account.user.disabled:
            await self._guard.failed(username)
            raise CredentialsInvalid
        await self._guard.check(username)
        return await self._with_current_hash(account, password)

    async def _with_current_hash(self, account: Account, password: str) -> Account:
        """Hash anew what was hashed with parameters of the past."""
        if not self._passwords.outdated(account.password_hash):
            return account
        renewed = await self._passwords.hash(password)
        kept = await self._users.set_password_hash(account.user.user_id, renewed, instead_of=account.password_hash)
        return replace(account, password_hash=renewed) if kept else account


class ChangePassword:
    """Give a user who knows the password another one, and end the user's other sessions."""

    def __init__(
        self,
        users: Users,
        passwords: Passwords,
        prove_password: ProvePassword,
        guard: LoginGuard,
        sessions: Sessions,
        now: Clock,
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._prove_password = prove_password
        self._guard = guard
        self._sessions = sessions
        self._now = now

    async def __call__(self, user_id: str, session_id: str, current: str, new: str) -> None:
        user = await self._users.by_id(user_id)
        if user is None:
            raise CredentialsInvalid
        account = await self._prove_password(user.username, current)
        await self._guard.succeeded(user.username)
        new_hash = await self._passwords.hash(new)
        if not await self._users.set_password_hash(user_id, new_hash, instead_of=account.password_hash):
            raise CredentialsInvalid
        await self._sessions.end_all_of_user(user_id, self._now(), but=session_id)


class ResetPassword:
    """Give a user a password that nobody has chosen, and end the user's sessions."""

    def __init__(
        self,
        users: Users,
        passwords: Passwords,
        sessions: Sessions,
        now: Clock,
        new_password: Callable[[], str],
    ) -> None:
        self._users = users
        self._passwords = passwords
        self._sessions = sessions
        self._now = now
        self._new_password = new_password

    async def __call__(self, user_id: str) -> str:
        password = self._new_password()
        if not await self._users.set_password_hash(user_id, await self._passwords.hash(password)):
            raise UserNotFound(user_id)
        await self._sessions.end_all_of_user(user_id, self._now())
        return password
