"""Sessions and the refresh tokens that keep them alive."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto


@dataclass(frozen=True)
class Origin:
    """Where a login came from, as the gateway saw it."""

    address: str
    user_agent: str


@dataclass(frozen=True)
class Session:
    """One login of a user and all the tokens that came of it."""

    session_id: str
    """A UUID."""
    user_id: str
    create_time: datetime
    refresh_time: datetime
    """When its tokens were last renewed."""
    expire_time: datetime
    """When it ends unless it is renewed before."""
    origin: Origin
    end_time: datetime | None = None
    scopes: frozenset[str] | None = None
    """What its access tokens are limited to; None for one that is limited by nothing but the roles."""

    @classmethod
    def begun(
        cls,
        session_id: str,
        user_id: str,
        now: datetime,
        origin: Origin,
        rules: "SessionRules",
        scopes: frozenset[str] | None = None,
    ) -> "Session":
        """A session that begins ``now``."""
        return cls(session_id, user_id, now, now, rules.expires(now, now), origin, scopes=scopes)

    def is_active(self, now: datetime) -> bool:
        """Whether it has neither ended nor expired."""
        return self.end_time is None and now < self.expire_time

    def renewed(self, now: datetime, rules: "SessionRules") -> "Session":
        """The session after its tokens were renewed."""
        return replace(self, refresh_time=now, expire_time=rules.expires(self.create_time, now))


@dataclass(frozen=True)
class SessionRules:
    """How long sessions last, and what becomes of a refresh token that is used again."""

    idle: timedelta
    """A session that is not renewed for so long expires."""
    longest: timedelta
    """After so long a user has to log in again."""
    retry: timedelta
    """For so long a retry of an exchange gets the same answer."""
    race: timedelta
    """Another use so soon after the first is taken for two windows of one client."""

    def expires(self, began: datetime, now: datetime) -> datetime:
        """When a session that began at ``began`` and is renewed ``now`` expires."""
        return min(now + self.idle, began + self.longest)


class Use(Enum):
    """What presenting a refresh token amounts to."""

    FIRST = auto()
    RETRY = auto()
    """Of an exchange whose answer may have been lost: it gets the same answer."""
    RACE = auto()
    """By two windows of one client: refused, and nothing else."""
    REUSE = auto()
    """By somebody who should not have it: the session ends."""


@dataclass(frozen=True)
class Exchange:
    """The one use of a refresh token."""

    time: datetime
    request_id: str
    answer: bytes | None
    """What it was exchanged for, readable with the token itself only; None once it is too late for a retry."""


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token as it is kept: by its fingerprint."""

    fingerprint: bytes
    expire_time: datetime
    """When its session would have expired without it. Later it is worth nothing, and so is knowing that it was used."""
    exchange: Exchange | None = None

    def use(self, request_id: str, now: datetime, rules: SessionRules) -> Use:
        """What it means that the token is presented ``now``."""
        if self.exchange is None:
            return Use.FIRST
        since = now - self.exchange.time
        if self.exchange.request_id == request_id and since <= rules.retry and self.exchange.answer is not None:
            return Use.RETRY
        return Use.RACE if since <= rules.race else Use.REUSE
