"""Users and what proves who they are."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Role(StrEnum):
    """What a user may do; the values are the names that tokens and policies use."""

    VIEWER = "ROLE_VIEWER"
    TRADER = "ROLE_TRADER"
    ADMIN = "ROLE_ADMIN"


@dataclass(frozen=True)
class User:
    """A person who may log in."""

    user_id: str
    """A UUID."""
    username: str
    roles: frozenset[Role]
    create_time: datetime


@dataclass(frozen=True)
class Account:
    """A user together with what the password is checked against."""

    user: User
    password_hash: str


def login_name(username: str) -> str:
    """The one spelling of a user name, which is unique regardless of case."""
    return username.lower()
