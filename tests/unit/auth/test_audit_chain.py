"""The audit chain without a database: whatever is done to it, a check says where."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.auth.domain.audit import (
    NO_HASH,
    Anchor,
    AnchorsUnreadable,
    AuditEvent,
    Link,
    Outcome,
    Verdict,
    Verification,
    link_hash,
)

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)
LENGTH = 12


def event(number: int, **fields: Any) -> AuditEvent:
    said: dict[str, Any] = {
        "event_id": str(UUID(int=number)),
        "event_time": NOON + timedelta(seconds=number),
        "service": "trading",
        "action": "/levimesh.trading.v1.TradingService/SubmitOrder",
        "actor": "ann",
        "session_id": "s-1",
        "address": "10.0.0.1",
        "outcome": Outcome.DONE,
        "status": "OK",
        "subject": {"client_order_id": f"order-{number}"},
        "trace_id": "",
    }
    return AuditEvent(**{**said, **fields})


def chained(events: Sequence[AuditEvent], after: int = 0, previous: bytes = NO_HASH) -> list[Link]:
    links = []
    for sequence, each in enumerate(events, after + 1):
        previous = link_hash(previous, sequence, each)
        links.append(Link(sequence, each, previous))
    return links


def anchors_of(links: Sequence[Link], *sequences: int) -> Iterator[Anchor]:
    return iter([Anchor(links[number - 1].sequence, links[number - 1].hash, NOON) for number in sequences])


def verdict(links: Sequence[Link], anchors: Iterator[Anchor] | None = None) -> Verdict:
    verification = Verification(anchors or iter(()))
    for link in links:
        verification.check(link)
    return verification.verdict()


CHAIN = chained([event(number) for number in range(1, LENGTH + 1)])


def test_the_hash_is_that_of_the_documented_form() -> None:
    """Whoever checks a chain in another language builds this text."""
    text = (
        '["levimesh-audit-1","' + "00" * 32 + '",1,"00000000-0000-0000-0000-000000000001",1723118401000000,"trading",'
        '"/levimesh.trading.v1.TradingService/SubmitOrder","ann","s-1","10.0.0.1","done","OK",'
        '{"a":"\\u00fc","b":"\\"2\\""},""]'
    )

    hashed = link_hash(NO_HASH, 1, event(1, subject={"b": '"2"', "a": "ü"}))

    assert hashed == hashlib.sha256(text.encode("ascii")).digest()


def test_a_chain_as_it_was_written_is_intact() -> None:
    found = verdict(CHAIN, anchors_of(CHAIN, 1, 5, 5, LENGTH))

    assert found == Verdict(LENGTH, CHAIN[-1].hash, NOON)
    assert found.intact


def test_an_empty_chain_is_intact() -> None:
    assert verdict([]) == Verdict(0, NO_HASH, None)


CHANGES: dict[str, Any] = {
    "event_id": str(UUID(int=99)),
    "event_time": NOON + timedelta(microseconds=1),
    "service": "prediction",
    "action": "another",
    "actor": "bob",
    "session_id": "",
    "address": "10.0.0.2",
    "outcome": Outcome.DENIED,
    "status": "INTERNAL",
    "subject": {},
    "trace_id": "0",
}


@given(number=st.integers(1, LENGTH), field=st.sampled_from(sorted(CHANGES)))
def test_a_changed_field_is_found_where_it_is(number: int, field: str) -> None:
    links = list(CHAIN)
    changed = replace(links[number - 1].event, **{field: CHANGES[field]})
    links[number - 1] = replace(links[number - 1], event=changed)

    found = verdict(links)

    assert found.broken_at == number
    assert found.problem.startswith("changed")


def test_every_field_of_an_event_is_among_those_that_are_tried() -> None:
    assert CHANGES.keys() == set(AuditEvent.__slots__)


@given(number=st.integers(1, LENGTH), flipped=st.integers(0, 255))
def test_a_changed_hash_is_found_where_it_is(number: int, flipped: int) -> None:
    links = list(CHAIN)
    wrong = int.from_bytes(links[number - 1].hash) ^ (1 << flipped)
    links[number - 1] = replace(links[number - 1], hash=wrong.to_bytes(32))

    assert verdict(links).broken_at == number


@given(number=st.integers(1, LENGTH - 1), many=st.integers(1, 3))
def test_what_is_missing_is_named(number: int, many: int) -> None:
    links = CHAIN[: number - 1] + CHAIN[number - 1 + many :]

    found = verdict(links, anchors_of(CHAIN, LENGTH))

    assert found.broken_at == number
    assert found.problem.startswith(("missing", "truncated"))


@given(numbers=st.sets(st.integers(1, LENGTH), min_size=2, max_size=2), with_hashes=st.booleans())
def test_two_swapped_events_are_found_at_the_first_with_the_place_of_its_event(
    numbers: set[int], with_hashes: bool
) -> None:
    first, second = sorted(numbers)
    links = list(CHAIN)
    for here, there in ((first, second), (second, first)):
        hashed = CHAIN[(there if with_hashes else here) - 1].hash
        links[here - 1] = Link(here, CHAIN[there - 1].event, hashed)

    found = verdict(links)

    assert (found.broken_at, found.problem) == (
        first,
        f"out of order: the event that belongs at {first} stands at {second}",
    )


@given(kept=st.integers(0, LENGTH - 1))
def test_a_cut_end_is_found_by_the_anchor(kept: int) -> None:
    assert verdict(CHAIN[:kept]).intact, "without an anchor nobody can know"

    found = verdict(CHAIN[:kept], anchors_of(CHAIN, LENGTH))

    assert found.broken_at == kept + 1
    assert found.problem.startswith(f"truncated: the chain ends after event {kept}")


@given(start=st.integers(1, LENGTH))
def test_an_end_that_was_written_anew_with_all_its_hashes_is_found_by_the_anchor(start: int) -> None:
    previous = NO_HASH if start == 1 else CHAIN[start - 2].hash
    forged = chained([event(number, actor="mallory") for number in range(start, LENGTH + 1)], start - 1, previous)
    links = [*CHAIN[: start - 1], *forged]
    assert verdict(links).intact, "without an anchor nobody can know"

    found = verdict(links, anchors_of(CHAIN, *range(1, LENGTH + 1)))

    assert found.broken_at == start
    assert found.problem.startswith("rewritten")


def test_a_rewritten_event_between_two_anchors_is_narrowed_down() -> None:
    forged = chained([event(number, actor="mallory") for number in range(6, LENGTH + 1)], 5, CHAIN[4].hash)

    found = verdict([*CHAIN[:5], *forged], anchors_of(CHAIN, 4, 8, 12))

    assert found.broken_at == 8
    assert "after event 4" in found.problem


def test_a_forged_event_in_the_middle_is_found() -> None:
    forged = event(99, actor="mallory")
    later = [replace(link, sequence=link.sequence + 1) for link in CHAIN[5:]]
    shifted = [*CHAIN[:5], Link(6, forged, link_hash(CHAIN[4].hash, 6, forged)), *later]

    assert verdict(shifted).broken_at == 7, "the first of those that had to move"


def test_a_number_that_is_there_twice_is_found() -> None:
    found = verdict([*CHAIN[:5], CHAIN[4], *CHAIN[5:]])

    assert found.broken_at == 6
    assert found.problem.startswith("out of order")


def unreadable() -> Iterator[Anchor]:
    yield from anchors_of(CHAIN, 3)
    raise AnchorsUnreadable("line 2 is not an anchor")


@pytest.mark.parametrize(
    ("anchors", "problem"),
    [(unreadable, "line 2 is not an anchor"), (lambda: anchors_of(CHAIN, 5, 2), "not in order")],
)
def test_anchors_that_were_changed_prove_nothing(anchors: Callable[[], Iterator[Anchor]], problem: str) -> None:
    found = verdict(CHAIN, anchors())

    assert not found.intact
    assert problem in found.problem


def test_an_event_without_a_time_and_without_a_hash_is_found() -> None:
    """Neither can be computed, which must not look like agreement."""
    links = list(CHAIN)
    nothing: Any = None
    links[3] = Link(4, event(4, event_time=nothing), nothing)

    assert verdict(links).broken_at == 4
