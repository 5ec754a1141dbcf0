"""How often callers may call, one callable each. The amounts are those of the contracts, whatever a request says."""

import asyncio
import math
from collections.abc import Iterable, Sequence

from services.auth.domain.limits import Allowance, Balance, Counted
from services.auth.errors import CountingUnavailable, MethodUnknown
from services.auth.ports.limits import CallCounter
from services.runtime.policy import STANDARD, Policy, RateLimit


class Allowances:
    """What each caller may call how often: the policies of the mesh, times a factor for load tests, 0 for no limits."""

    def __init__(self, policies: Iterable[Policy], scale: float = 1.0) -> None:
        self._limited = {policy.method: policy for policy in policies if policy.rate_limit is not None}
        self._scale = scale

    @property
    def are_limited(self) -> bool:
        """Whether calls are counted at all."""
        return self._scale > 0

    def limit(self, method: str) -> RateLimit:
        """The limit of a method. Raises MethodUnknown for a path that no user reaches."""
        policy = self._limited.get(method)
        if policy is None or policy.rate_limit is None:
            raise MethodUnknown(method)
        return policy.rate_limit

    def of(self, method: str, tier: str) -> Allowance:
        """What a caller of ``tier`` may call; of an unknown tier, what STANDARD may. Raises MethodUnknown."""
        limit = self.limit(method)
        calls = limit.calls.get(tier, limit.calls[STANDARD])
        return Allowance(method, max(1, math.ceil(calls * self._scale)), max(1, math.ceil(limit.seconds)))

    def open_to(self, roles: frozenset[str], scopes: frozenset[str] | None) -> Sequence[Policy]:
        """The policies of the methods that a user with ``roles``, and a token limited to ``scopes``, may call."""
        return [
            policy
            for policy in self._limited.values()
            if policy.public or (roles & policy.roles and (scopes is None or scopes & policy.scopes))
        ]


class CountCall:
    """Decide whether a caller may make one more call now, and count it."""

    def __init__(self, allowances: Allowances, counter: CallCounter) -> None:
        self._allowances = allowances
        self._counter = counter

    async def __call__(
        self, method: str, subject: str, address: str, tier: str
    ) -> tuple[bool, Allowance, Balance | None]:
        """Whether it may; of how many; and what is left, which is not known of a call that passes uncounted.

        While calls cannot be counted they pass where the contract says so; elsewhere this raises CountingUnavailable.
        Raises MethodUnknown.
        """
        allowance = self._allowances.of(method, tier)
        if not self._allowances.are_limited:
            return True, allowance, None
        try:
            allowed, balance = await self._counter.take(Counted.of(method, subject, address), allowance)
        except CountingUnavailable:
            if self._allowances.limit(method).refused_in_outage:
                raise
            return True, allowance, None
        return allowed, allowance, balance


class ReadLimits:
    """Tell a caller its own limits, and what is left of those that are counted for all gateways together."""

    def __init__(self, allowances: Allowances, counter: CallCounter) -> None:
        self._allowances = allowances
        self._counter = counter

    async def __call__(
        self, user_id: str, address: str, tier: str, roles: frozenset[str], scopes: frozenset[str] | None
    ) -> Sequence[tuple[Allowance, Balance | None]]:
        """One entry for each method that the caller may call, by its path; none without limits."""
        if not self._allowances.are_limited:
            return []
        policies = sorted(self._allowances.open_to(roles, scopes), key=lambda policy: policy.method)
        return await asyncio.gather(*(self._read(policy, user_id, address, tier) for policy in policies))

    async def _read(self, policy: Policy, user_id: str, address: str, tier: str) -> tuple[Allowance, Balance | None]:
        # At a public method nobody is known, not even somebody who sends a token.
        subject, tier = ("", STANDARD) if policy.public else (user_id, tier)
        allowance = self._allowances.of(policy.method, tier)
        if not self._allowances.limit(policy.method).across_replicas:
            return allowance, None
        try:
            return allowance, await self._counter.look(Counted.of(policy.method, subject, address), allowance)
        except CountingUnavailable:
            return allowance, None
