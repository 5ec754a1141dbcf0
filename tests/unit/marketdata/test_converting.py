"""Money in other currencies, by the reference rates of a day."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from services.marketdata.domain.rates import Rate
from services.marketdata.errors import RateNotFound
from services.marketdata.use_cases.prices import ConvertPrice

DAY = date(2024, 8, 8)
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


class Rates:
    """A store that finds what it was given, whatever is asked."""

    def __init__(self, *lists: Sequence[tuple[str, str]], day: date = DAY) -> None:
        self.lists = [[Rate("ecb", "EUR", quote, day, Decimal(rate)) for quote, rate in each] for each in lists]
        self.asked: list[tuple[date, tuple[str, ...], str]] = []

    async def add(self, rates: Sequence[Rate]) -> int:
        raise AssertionError("nothing is written")

    async def newest_day(self, source: str) -> date | None:
        return DAY

    async def of_day(self, day: date, currencies: Sequence[str], source: str) -> list[list[Rate]]:
        self.asked.append((day, tuple(currencies), source))
        return self.lists


def convert(rates: Rates) -> ConvertPrice:
    return ConvertPrice(rates, lambda: NOON)


async def test_two_currencies_are_crossed_through_the_base_of_the_rates() -> None:
    rates = Rates([("USD", "1.0920"), ("TRY", "36.65")])

    found = await convert(rates)(Decimal(100), "USD", "TRY", None, "")

    assert found.amount == Decimal("3356.22710623")
    assert found.rate == Decimal("33.5622710623")
    assert (found.day, found.source) == (DAY, "ecb")
    assert rates.asked == [(DAY, ("USD", "TRY"), "")]


@pytest.mark.parametrize(
    ("from_currency", "to_currency", "amount"), [("EUR", "USD", "109.200"), ("USD", "EUR", "91.5750915751")]
)
async def test_the_base_itself_is_worth_one(from_currency: str, to_currency: str, amount: str) -> None:
    found = await convert(Rates([("USD", "1.0920")]))(Decimal(100), from_currency, to_currency, NOON, "ecb")

    assert found.amount == Decimal(amount)


async def test_the_same_currency_needs_no_rate() -> None:
    found = await convert(Rates())(Decimal("0.1"), "TRY", "TRY", NOON, "")

    assert (found.amount, found.rate) == (Decimal("0.1"), Decimal(1))


async def test_without_a_rate_nothing_is_invented() -> None:
    with pytest.raises(RateNotFound, match="USD and XAU"):
        await convert(Rates())(Decimal(1), "USD", "XAU", NOON, "")


async def test_a_late_amount_asks_for_its_own_day() -> None:
    rates = Rates([("USD", "1.1")], day=date(2024, 8, 2))

    found = await convert(rates)(Decimal(1), "EUR", "USD", datetime(2024, 8, 4, 23, tzinfo=UTC), "")

    assert rates.asked[0][0] == date(2024, 8, 4)
    assert found.day == date(2024, 8, 2)


async def test_an_amount_is_rounded_alike_in_its_own_currency() -> None:
    found = await convert(Rates())(Decimal("0.12345678901234"), "TRY", "TRY", NOON, "")

    assert found.amount == Decimal("0.123456789012")
