"""What is done for people whom other issuers vouch for."""

import hashlib
from dataclasses import replace
from datetime import datetime
from functools import partial

from services.auth.domain.external import ExternalPerson
from services.auth.domain.sessions import Origin
from services.auth.domain.tokens import AccessToken, Grant
from services.auth.domain.users import User
from services.auth.errors import ExternalRoleMissing, LastAdmin
from services.auth.ports.oauth import ExternalPeople, ExternalTokens
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Users
from services.auth.recent import Recent
from services.auth.use_cases.reissuing import ReissuedTokens
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock
from services.runtime.tokens import SessionEnded


class ExchangeExternalToken:
    """Give a token of this mesh for one of another issuer: while nothing has changed, the same for many calls.

    The issuer decides which roles the person has, by the newest of its tokens; their session here ends like any other.
    A token is looked at again after a second.
    """

    def __init__(
        self,
        external: ExternalTokens,
        people: ExternalPeople,
        users: Users,
        tokens: Tokens,
        audit: AuditLog,
        now: Clock,
    ) -> None:
        self._external = external
        self._people = people
        self._users = users
        self._tokens = ReissuedTokens(tokens)
        self._audit = audit
        self._now = now
        self._recent: Recent[bytes, tuple[Grant, AccessToken]] = Recent(lambda: now().timestamp())

    async def __call__(self, token: str, origin: Origin) -> tuple[Grant, AccessToken]:
        """What the token says, and the token.

        Raises ExternalTokenInvalid, IssuerUnavailable, ExternalRoleMissing, and SessionEnded for a session that has
        ended here, or a user who is disabled.
        """
        digest = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        return await self._recent.get(digest, lambda: self._exchange(token, origin))

    async def _exchange(self, token: str, origin: Origin) -> tuple[Grant, AccessToken]:
        person, now = await self._external.person(token), self._now()
        user = await self._user(person, origin, now)
        session = await self._people.session(person, user, origin, now)
        if user.disabled or not session.is_active(now) or session.user_id != user.user_id:
            raise SessionEnded("the session has ended; log in again at the issuer of the token")
        if session.create_time == now:
            await self._record("external_login", person, user, origin)
        grant = Grant.of_login(user, session.session_id, person.expire_time)
        return grant, self._tokens.issue(grant, now)

    async def _user(self, person: ExternalPerson, origin: Origin, now: datetime) -> User:
        """The user with the roles of the newest token, kept so."""
        while True:
            standing = await self._people.standing(person, now)
            if standing is None or not standing.roles:
                raise ExternalRoleMissing
            user, roles = standing.user, standing.roles
            if user.roles == roles:
                return user
            try:
                await self._users.change(user.user_id, partial(User.with_rights, roles=roles))
            except LastAdmin:
                # Nobody else is left to administrate, but what the issuer has taken away is not given out here.
                return replace(user, roles=roles)
            await self._record("external_roles_changed", replace(person, roles=roles), user, origin)
            # Once more: a newer token may have come meanwhile.

    async def _record(self, action: str, person: ExternalPerson, user: User, origin: Origin) -> None:
        await self._audit.record(
            action,
            actor=user.user_id,
            session_id=person.session_id,
            address=origin.address,
            subject={"issuer": person.issuer, "roles": ", ".join(sorted(person.roles))},
        )
