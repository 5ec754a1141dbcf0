"""People whom another issuer of tokens (OpenID Connect: Keycloak and the like) vouches for."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

from services.auth.domain.users import Role, User

_SESSIONS = UUID("6f6c4f0f-7d6b-5a52-9d3c-0d4c1b1f8a11")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9._-]+")
_LONGEST_NAME = 64


@dataclass(frozen=True)
class Issuer:
    """An issuer whose tokens are taken, and what they mean here."""

    issuer: str
    audience: str
    roles_claim: str
    """Where its roles stand, with a dot for each level: ``realm_access.roles``."""
    roles: Mapping[str, Role]
    """Which role of ours each of them is; the others are none."""
    username_claim: str

    def person(self, claims: Mapping[str, Any], token: str) -> "ExternalPerson":
        """Whom the checked ``claims`` of ``token`` are about."""
        subject = str(claims["sub"])
        session = claims.get("sid") or claims.get("session_state") or claims.get("jti") or token
        return ExternalPerson(
            issuer=self.issuer,
            subject=subject,
            username=str(claims.get(self.username_claim) or subject),
            roles=frozenset(self._roles(claims)),
            session_id=str(uuid5(_SESSIONS, f"{self.issuer}\n{subject}\n{_digest(str(session))}")),
            issue_time=datetime.fromtimestamp(float(claims["iat"]), tz=UTC),
            expire_time=datetime.fromtimestamp(float(claims["exp"]), tz=UTC),
        )

    def _roles(self, claims: Mapping[str, Any]) -> Iterator[Role]:
        found: Any = claims
        for name in self.roles_claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        for value in found if isinstance(found, list) else [found]:
            if isinstance(value, str) and value in self.roles:
                yield self.roles[value]


@dataclass(frozen=True)
class ExternalPerson:
    """A person as a token of another issuer names them."""

    issuer: str
    subject: str
    username: str
    """As the issuer has it: anything."""
    roles: frozenset[Role]
    session_id: str
    """A UUID, the same for all tokens of one login at the issuer."""
    issue_time: datetime
    expire_time: datetime
    """Of the token, as is the time before."""

    def names(self) -> Iterator[str]:
        """User names for this person, the best first; the last is nobody else's."""
        digest = _digest(f"{self.issuer}\n{self.subject}")
        name = _NOT_IN_NAMES.sub("-", self.username.lower()).strip("-._")
        if not name[:1].isalpha() or len(name) < 2:
            name = f"user-{name}".rstrip("-._")
        yield name[:_LONGEST_NAME]
        yield f"{name[: _LONGEST_NAME - 9]}-{digest[:8]}"
        yield f"user-{digest[:40]}"


@dataclass(frozen=True)
class Standing:
    """Who a person is here, and what the newest of their tokens that has been seen says of them."""

    user: User
    roles: frozenset[Role]
    """None at all for somebody whom the issuer has taken every role."""


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
