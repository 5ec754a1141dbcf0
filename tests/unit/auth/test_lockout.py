"""How long failed logins hold up the next one."""

from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.lockout import FailedLogins

NOON = datetime(2024, 8, 9, 12, tzinfo=UTC)


def failed(times: int) -> FailedLogins:
    failures = FailedLogins()
    for _ in range(times):
        failures = failures.one_more(NOON)
    return failures


@pytest.mark.parametrize(
    ("times", "seconds"), [(0, 0), (1, 0), (4, 0), (5, 1), (6, 2), (7, 4), (14, 512), (15, 900), (16, 900), (5000, 900)]
)
def test_the_delay_doubles_from_the_fifth_failure_to_a_quarter_of_an_hour(times: int, seconds: int) -> None:
    assert failed(times).locked_for(NOON) == timedelta(seconds=seconds)


def test_the_lock_ends_with_its_delay() -> None:
    failures = failed(7)

    assert failures.locked_for(NOON + timedelta(seconds=3.5)) == timedelta(seconds=0.5)
    assert not failures.locked_for(NOON + timedelta(seconds=4))


def test_after_a_day_failures_are_forgotten() -> None:
    next_day = NOON + timedelta(days=1)

    assert failed(20).one_more(next_day) == FailedLogins(1, next_day)
    assert failed(20).one_more(next_day - timedelta(seconds=1)).count == 21


def test_a_clock_that_went_back_does_not_lock_for_longer() -> None:
    assert failed(5).locked_for(NOON - timedelta(hours=1)) <= timedelta(seconds=1)
