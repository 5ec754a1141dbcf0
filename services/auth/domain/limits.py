"""How many calls a caller has left."""

from dataclasses import dataclass
from ipaddress import IPv6Address

from services.auth.domain.api_keys import parsed

_ONE_SUBSCRIBER = 64
"""Whoever has one address of IPv6 has all that share this many bits with it."""


@dataclass(frozen=True)
class Counted:
    """Whose calls of which method are counted together."""

    method: str
    """Its path."""
    subject: str
    """A user, by id; "" where only the address is known."""
    network: str
    """An address, of IPv6 with its neighbours; "" where it is not known."""

    @classmethod
    def of(cls, method: str, subject: str, address: str) -> "Counted":
        """With whom calls of ``subject`` from ``address`` are counted."""
        return cls(method, subject, _network(address))


@dataclass(frozen=True)
class Allowance:
    """How often a caller may call a method."""

    method: str
    calls: int
    seconds: int


@dataclass(frozen=True)
class Balance:
    """What is left of an allowance."""

    remaining: int
    reset_in: float
    """Seconds until there are more."""


def _network(address: str) -> str:
    known = parsed(address)
    if isinstance(known, IPv6Address):
        return str(IPv6Address(int(known) >> _ONE_SUBSCRIBER << _ONE_SUBSCRIBER))
    return "" if known is None else str(known)
