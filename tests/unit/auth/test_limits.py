"""How often callers may call, and what becomes of calls that cannot be counted."""

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from services.auth import contracts
from services.auth.domain.limits import Allowance, Balance, Counted
from services.auth.errors import CountingUnavailable, MethodUnknown
from services.auth.use_cases.limits import Allowances, CountCall, ReadLimits
from services.runtime.policy import Policy, RateLimit, policies

SUBMIT, READ, LOGIN, ADMINISTER, LOCAL = "/s/Submit", "/s/Read", "/s/Login", "/s/Administer", "/s/Local"


def a_policy(
    method: str, calls: int, *, roles: str = "", scopes: str = "", refused: bool = False, across: bool = True
) -> Policy:
    return Policy(
        method=method,
        roles=frozenset(roles.split()),
        scopes=frozenset(scopes.split()),
        callers=frozenset({"gateway"}),
        service_callers=frozenset(),
        public=not roles,
        deadline=1.0,
        audit=False,
        rate_limit=RateLimit({"standard": calls, "elevated": calls * 10}, 60.0, across, refused),
    )


POLICIES = [
    a_policy(SUBMIT, 3, roles="ROLE_TRADER", scopes="trade", refused=True),
    a_policy(READ, 5, roles="ROLE_VIEWER ROLE_TRADER", scopes="read"),
    a_policy(LOGIN, 2, refused=True),
    a_policy(ADMINISTER, 1, roles="ROLE_ADMIN"),
    a_policy(LOCAL, 9, roles="ROLE_TRADER", scopes="read", across=False),
]


class Counter:
    """Counts in memory, without an end to the span, and may be away."""

    def __init__(self) -> None:
        self.taken: dict[Counted, int] = {}
        self.away = False

    async def take(self, counted: Counted, allowance: Allowance) -> tuple[bool, Balance]:
        balance = await self.look(counted, allowance)
        if balance.remaining:
            self.taken[counted] = self.taken.get(counted, 0) + 1
        return balance.remaining > 0, Balance(max(0, balance.remaining - 1), 60.0)

    async def look(self, counted: Counted, allowance: Allowance) -> Balance:
        if self.away:
            raise CountingUnavailable
        return Balance(allowance.calls - self.taken.get(counted, 0), 60.0)


async def test_calls_pass_until_the_allowance_is_used_up() -> None:
    count = CountCall(Allowances(POLICIES), Counter())

    outcomes = [await count(SUBMIT, "alice", "192.0.2.1", "standard") for _ in range(4)]

    assert [allowed for allowed, _, _ in outcomes] == [True, True, True, False]
    assert outcomes[-1][1:] == (Allowance(SUBMIT, 3, 60), Balance(0, 60.0))


async def test_other_users_addresses_and_methods_are_counted_apart() -> None:
    count = CountCall(Allowances(POLICIES), Counter())
    for _ in range(3):
        await count(SUBMIT, "alice", "192.0.2.1", "standard")

    assert not (await count(SUBMIT, "alice", "192.0.2.1", "standard"))[0]
    assert (await count(SUBMIT, "bob", "192.0.2.1", "standard"))[0]
    assert (await count(SUBMIT, "alice", "192.0.2.2", "standard"))[0]
    assert (await count(READ, "alice", "192.0.2.1", "standard"))[0]


async def test_neighbours_in_a_network_of_ipv6_are_counted_together() -> None:
    count = CountCall(Allowances(POLICIES), Counter())

    outcomes = [(await count(LOGIN, "", f"2001:db8::{number}", ""))[0] for number in range(3)]

    assert outcomes == [True, True, False]
    assert (await count(LOGIN, "", "2001:db8:0:1::1", ""))[0]


@pytest.mark.parametrize(("tier", "calls"), [("standard", 3), ("elevated", 30), ("", 3), ("unheard of", 3)])
def test_the_amount_is_that_of_the_tier(tier: str, calls: int) -> None:
    assert Allowances(POLICIES).of(SUBMIT, tier) == Allowance(SUBMIT, calls, 60)


def test_a_load_test_may_call_more() -> None:
    assert Allowances(POLICIES, 1000).of(SUBMIT, "standard").calls == 3000
    assert Allowances(POLICIES, 0.01).of(SUBMIT, "standard").calls == 1


async def test_without_limits_nothing_is_counted_and_none_are_told() -> None:
    allowances, counter = Allowances(POLICIES, 0), Counter()
    count, read = CountCall(allowances, counter), ReadLimits(allowances, counter)

    assert {(await count(SUBMIT, "alice", "192.0.2.1", "standard"))[0] for _ in range(10)} == {True}
    assert counter.taken == {}
    assert await read("alice", "192.0.2.1", "standard", frozenset({"ROLE_TRADER"}), None) == []


async def test_while_calls_cannot_be_counted_the_policy_decides() -> None:
    counter = Counter()
    counter.away = True
    count = CountCall(Allowances(POLICIES), counter)

    assert await count(READ, "alice", "192.0.2.1", "standard") == (True, Allowance(READ, 5, 60), None)
    with pytest.raises(CountingUnavailable):
        await count(SUBMIT, "alice", "192.0.2.1", "standard")


async def test_a_method_that_no_contract_has_is_refused() -> None:
    with pytest.raises(MethodUnknown):
        await CountCall(Allowances(POLICIES), Counter())("/s/Nothing", "alice", "192.0.2.1", "standard")


async def test_a_caller_is_told_the_limits_of_what_it_may_call_and_looking_takes_nothing() -> None:
    allowances, counter = Allowances(POLICIES), Counter()
    await CountCall(allowances, counter)(SUBMIT, "alice", "192.0.2.1", "standard")
    read = ReadLimits(allowances, counter)

    for _ in range(2):
        limits = await read("alice", "192.0.2.1", "standard", frozenset({"ROLE_TRADER"}), None)
        assert limits == [
            (Allowance(LOCAL, 9, 60), None),
            (Allowance(LOGIN, 2, 60), Balance(2, 60.0)),
            (Allowance(READ, 5, 60), Balance(5, 60.0)),
            (Allowance(SUBMIT, 3, 60), Balance(2, 60.0)),
        ]


async def test_the_limits_of_a_token_are_within_its_scopes() -> None:
    read = ReadLimits(Allowances(POLICIES), Counter())

    limits = await read("alice", "192.0.2.1", "elevated", frozenset({"ROLE_TRADER"}), frozenset({"read"}))

    assert [(allowance.method, allowance.calls) for allowance, _ in limits] == [(LOCAL, 90), (LOGIN, 2), (READ, 50)]


async def test_limits_are_told_while_calls_cannot_be_counted() -> None:
    counter = Counter()
    counter.away = True

    limits = await ReadLimits(Allowances(POLICIES), counter)("a", "", "standard", frozenset({"ROLE_ADMIN"}), None)

    assert limits == [(Allowance(ADMINISTER, 1, 60), None), (Allowance(LOGIN, 2, 60), None)]


@pytest.mark.parametrize("service", contracts.MESH, ids=lambda service: service.full_name)
def test_every_method_of_the_mesh_has_a_sound_policy(service: ServiceDescriptor) -> None:
    assert len(policies(service)) == len(service.methods)
