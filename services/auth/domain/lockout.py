"""How failed logins hold up the next one: the same for a name that nobody has."""

from dataclasses import dataclass
from datetime import datetime, timedelta

_FREE_FAILURES = 5
_LONGEST = timedelta(minutes=15)
_REMEMBERED = timedelta(days=1)


@dataclass(frozen=True)
class FailedLogins:
    """The failed logins with one user name, without a successful one in between."""

    count: int = 0
    last_time: datetime | None = None

    def one_more(self, now: datetime) -> "FailedLogins":
        """As it is after another one."""
        return FailedLogins(1 if self._forgotten(now) else self.count + 1, now)

    def locked_for(self, now: datetime) -> timedelta:
        """How long to wait before the next login; zero when it may be tried at once.

        One second after the fifth failure, and twice as long after each further one.
        """
        if self.last_time is None or self.count < _FREE_FAILURES or self._forgotten(now):
            return timedelta()
        doublings = min(self.count - _FREE_FAILURES, 10)
        delay = min(timedelta(seconds=2**doublings), _LONGEST)
        return min(max(self.last_time + delay - now, timedelta()), delay)

    def _forgotten(self, now: datetime) -> bool:
        return self.last_time is None or self.last_time <= forgotten_before(now)


def forgotten_before(now: datetime) -> datetime:
    """Failures up to this time count no more."""
    return now - _REMEMBERED
