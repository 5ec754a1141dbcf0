"""Users and what proves who they are."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, StrEnum, auto


class Role(StrEnum):
    """What a user may do; the values are the names that tokens and policies use."""

    VIEWER = "ROLE_VIEWER"
    TRADER = "ROLE_TRADER"
    ADMIN = "ROLE_ADMIN"


class RateTier(StrEnum):
    """How much a user, or an API key, may call; the values are what tokens say."""

    STANDARD = "standard"
    ELEVATED = "elevated"


class Unchanged(Enum):
    """In place of a value that is to stay as it is, where None means something."""

    UNCHANGED = auto()


@dataclass(frozen=True)
class User:
    """A person who may log in."""

    user_id: str
    """A UUID."""
    username: str
    roles: frozenset[Role]
    create_time: datetime
    disabled: bool = False
    totp_enrolled: bool = False
    """Whether a login needs a second factor."""
    given_tier: RateTier | None = None
    """The rate tier that an admin gave to this user; None for that of the role."""
    rights: int = 1
    """Counts the changes of roles, tier and ``disabled``. A token says which rights it was issued with, and is refused
    once the user has others."""

    @property
    def rate_tier(self) -> RateTier:
        """How much the user may call."""
        return self.given_tier or (RateTier.ELEVATED if Role.ADMIN in self.roles else RateTier.STANDARD)

    @property
    def rights_id(self) -> str:
        """What is listed as revoked when the rights have changed."""
        return f"{self.user_id}/{self.rights}"

    @property
    def administrates(self) -> bool:
        """Whether the user is one of those of whom the mesh needs at least one."""
        return Role.ADMIN in self.roles and not self.disabled

    def with_rights(
        self,
        *,
        roles: frozenset[Role] | None = None,
        given_tier: RateTier | Unchanged | None = Unchanged.UNCHANGED,
        disabled: bool | None = None,
    ) -> "User":
        """The user with other rights; with the same ones, nothing has changed."""
        other = replace(
            self,
            roles=self.roles if roles is None else roles,
            given_tier=self.given_tier if given_tier is Unchanged.UNCHANGED else given_tier,
            disabled=self.disabled if disabled is None else disabled,
        )
        return self if other == self else replace(other, rights=self.rights + 1)


@dataclass(frozen=True)
class Account:
    """A user together with what the password is checked against."""

    user: User
    password_hash: str


def login_name(username: str) -> str:
    """The one spelling of a user name, which is unique regardless of case."""
    return username.lower()
