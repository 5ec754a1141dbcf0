"""Authorization codes, and people whom other issuers vouch for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from services.auth.domain.external import ExternalPerson, Standing
from services.auth.domain.oauth import AuthorizationCode
from services.auth.domain.sessions import Origin, Session
from services.auth.domain.tokens import Identity
from services.auth.domain.users import User


@dataclass(frozen=True)
class CodeUse:
    """One use of a code."""

    code: AuthorizationCode
    first: bool
    session_id: str | None
    """The session that came of the first use, once that is known."""


class Codes(Protocol):
    """Where authorization codes are kept."""

    async def add(self, code: AuthorizationCode) -> None:
        """Keep a new code, and forget those that nobody can use any more."""

    async def use(self, code_hash: bytes) -> CodeUse | None:
        """Use the code up, if there is such a code. Of several uses at once one is the first."""

    async def came_to(self, code_hash: bytes, session_id: str) -> bool:
        """Note which session came of the first use. False when the code has been used again meanwhile."""


class IdTokens(Protocol):
    """Makes ID tokens."""

    def identify(self, identity: Identity, now: datetime) -> str:
        """A token that tells the client of ``identity``, and nobody else, who has logged in."""


class ExternalTokens(Protocol):
    """Checks tokens of other issuers."""

    async def person(self, token: str) -> ExternalPerson:
        """Whom ``token`` is about. Raises ExternalTokenInvalid and IssuerUnavailable."""


class ExternalPeople(Protocol):
    """The users and sessions of people whom other issuers vouch for."""

    async def standing(self, person: ExternalPerson, now: datetime) -> Standing | None:
        """Who ``person`` is here, with the roles of the newest token: those of ``person``, unless a token that was
        issued later has been seen. None for somebody new who has no role.

        The user is made when they first come: with a name of their own and no password.
        """

    async def session(self, person: ExternalPerson, user: User, origin: Origin, now: datetime) -> Session:
        """The session of this login at the issuer, begun when it is first seen, and good as long as its tokens.

        One that has ended stays so.
        """
