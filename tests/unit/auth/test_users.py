"""What holds for users."""

from datetime import UTC, datetime

import pytest

from services.auth.domain.users import RateTier, Role, User

ANN = User("6f1c1f0e-0000-4000-8000-000000000009", "ann", frozenset({Role.TRADER}), datetime(2024, 8, 9, tzinfo=UTC))
ADMIN = ANN.with_rights(roles=frozenset({Role.ADMIN}))


def test_the_rate_tier_is_that_of_the_role_unless_one_is_given() -> None:
    assert ANN.rate_tier is RateTier.STANDARD
    assert ADMIN.rate_tier is RateTier.ELEVATED
    assert ANN.with_rights(given_tier=RateTier.ELEVATED).rate_tier is RateTier.ELEVATED
    assert ADMIN.with_rights(given_tier=RateTier.STANDARD).rate_tier is RateTier.STANDARD
    assert ADMIN.with_rights(given_tier=RateTier.STANDARD).with_rights(given_tier=None).rate_tier is RateTier.ELEVATED


@pytest.mark.parametrize(
    "changed",
    [
        ANN.with_rights(roles=frozenset({Role.TRADER, Role.VIEWER})),
        ANN.with_rights(given_tier=RateTier.STANDARD),
        ANN.with_rights(disabled=True),
    ],
)
def test_each_change_of_rights_makes_tokens_of_before_worthless(changed: User) -> None:
    assert changed.rights_id != ANN.rights_id


def test_the_same_rights_again_are_no_change() -> None:
    assert ANN.with_rights(roles=ANN.roles, given_tier=None, disabled=False) == ANN


def test_an_admin_who_is_disabled_administrates_nothing() -> None:
    assert ADMIN.administrates
    assert not ADMIN.with_rights(disabled=True).administrates
    assert not ANN.administrates
