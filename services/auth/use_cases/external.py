"""What is done for people whom other issuers vouch for."""

from dataclasses import replace
from datetime import datetime

from services.auth.domain.external import ExternalPerson
from services.auth.domain.sessions import Origin
from services.auth.domain.tokens import AccessToken, Grant
from services.auth.domain.users import User
from services.auth.errors import ExternalRoleMissing, LastAdmin
from services.auth.ports.oauth import ExternalPeople, ExternalTokens
from services.auth.ports.sessions import Tokens
from services.auth.ports.users import Users
from services.auth.use_cases.reissuing import ReissuedTokens
from services.runtime.audit import AuditLog
from services.runtime.clock import Clock
from services.runtime.tokens import SessionEnded


class ExchangeExternalToken:
    """Give a token of this mesh for one of another issuer: while nothing has changed, the same for many calls.

    The issuer decides which roles the person has; their session here ends like any other.
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

    async def __call__(self, token: str, origin: Origin) -> tuple[Grant, AccessToken]:
        """What the token says, and the token.

        Raises ExternalTokenInvalid, IssuerUnavailable, ExternalRoleMissing, and SessionEnded for a session that has
        ended here, or a user who is disabled.
        """
        person = await self._external.person(token)
        if not person.roles:
            raise ExternalRoleMissing
        now = self._now()
        user = await self._user(person, origin, now)
        session = await self._people.session(person, user, origin, now)
        if user.disabled or not session.is_active(now) or session.user_id != user.user_id:
            raise SessionEnded("the session has ended; log in again at the issuer of the token")
        if session.create_time == now:
            await self._record("external_login", person, user, origin)
        grant = Grant.of_login(user, session.session_id, person.expire_time)
        return grant, self._tokens.issue(grant, now)

    async def _user(self, person: ExternalPerson, origin: Origin, now: datetime) -> User:
        user = await self._people.user(person, now)
        if user.roles == person.roles:
            return user
        try:
            changed = await self._users.change(user.user_id, lambda known: known.with_rights(roles=person.roles))
        except LastAdmin:
            # Nobody else is left to administrate, but what the issuer has taken away is not given out here.
            return replace(user, roles=person.roles)
        await self._record("external_roles_changed", person, user, origin)
        return changed

    async def _record(self, action: str, person: ExternalPerson, user: User, origin: Origin) -> None:
        await self._audit.record(
            action,
            actor=user.user_id,
            session_id=person.session_id,
            address=origin.address,
            subject={"issuer": person.issuer, "roles": ", ".join(sorted(person.roles))},
        )
