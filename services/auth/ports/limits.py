"""Counting calls for all gateways together."""

from typing import Protocol

from services.auth.domain.limits import Allowance, Balance, Counted


class CallCounter(Protocol):
    """Counts calls. Of calls at once never more are let through than the allowance has.

    Both methods raise CountingUnavailable while calls cannot be counted.
    """

    async def take(self, counted: Counted, allowance: Allowance) -> tuple[bool, Balance]:
        """Count a call if one is left; says whether one was, and what is left now."""

    async def look(self, counted: Counted, allowance: Allowance) -> Balance:
        """What is left, without taking any of it."""
