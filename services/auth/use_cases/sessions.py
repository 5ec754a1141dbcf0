"""What is done with sessions, one callable each."""

from services.auth.domain.tokens import AccessToken, Grant
from services.auth.domain.users import User
from services.auth.errors import CredentialsInvalid
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Passwords, Users
from services.runtime.clock import Clock


class Login:
    """Exchange a user name and a password for an access token."""

    def __init__(self, users: Users, passwords: Passwords, tokens: Tokens, now: Clock) -> None:
        self._users = users
        self._passwords = passwords
        self._tokens = tokens
        self._now = now

    async def __call__(self, username: str, password: str) -> tuple[AccessToken, User]:
        account = await self._users.by_name(username)
        matches = await self._passwords.matches(password, account.password_hash if account else None)
        if account is None or not matches:
            raise CredentialsInvalid
        return self._tokens.issue(Grant.of_login(account.user, ""), self._now()), account.user
