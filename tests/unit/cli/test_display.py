"""Numbers and times as people read them, and tables in narrow terminals."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal
from rich.console import Console

from services.cli.display import gain, lately, money, number, rounded, table, when

AN_ID = "0f6c1f0e-0000-4000-8000-000000000001"


@pytest.mark.parametrize(
    ("value", "shown"),
    [("0.0100", "0.01"), ("100", "100"), ("1E+3", "1000"), ("1E-8", "0.00000001"), ("", ""), ("-0.50", "-0.5")],
)
def test_a_number_is_exact_and_without_exponent(value: str, shown: str) -> None:
    assert number(WireDecimal(value=value)) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("61250.123456789", "61250.12"),
        ("0.000123456789", "0.0001234568"),
        ("123456789.129", "123456789.13"),
        ("0", "0"),
        ("", ""),
    ],
)
def test_a_mean_is_rounded_to_what_a_person_reads(value: str, shown: str) -> None:
    assert rounded(WireDecimal(value=value)) == shown


def test_money_is_rounded_to_cents_and_a_gain_has_a_sign() -> None:
    assert money(WireDecimal(value="1234567.895")) == "1,234,567.90"
    assert money(WireDecimal()) == "0.00"
    assert gain(WireDecimal(value="12.3")).plain == "+12.30"
    assert gain(WireDecimal(value="-1234.5")).plain == "-1,234.50"


def test_a_time_is_as_short_as_its_distance_allows() -> None:
    now = datetime(2024, 8, 9, 12, 0, tzinfo=UTC)

    def shown(*moment: int) -> str:
        stamp = Timestamp()
        stamp.FromDatetime(datetime(*moment, tzinfo=UTC))  # type: ignore[misc,arg-type] # numbers only
        return lately(stamp, now)

    assert shown(2024, 8, 9, 1, 2, 3) == "01:02:03"
    assert shown(2024, 8, 8, 23, 59, 59) == "08-08 23:59"
    assert shown(2023, 8, 9, 12, 0) == "2023-08-09"
    assert when(Timestamp()) == ""


@pytest.mark.parametrize("width", [61, 80, 100])
def test_only_the_shrinking_column_of_a_table_is_cut(width: int) -> None:
    shown = table("Orders", "symbol", "price", "order", numbers=["price"], shrinking="order")
    shown.add_row("BTC-USDT@simex" + "." * 20, "limit 61250.10", AN_ID)
    printed = StringIO()

    Console(file=printed, width=width, force_terminal=True, no_color=True).print(shown)

    line = printed.getvalue().splitlines()[-1]
    assert "BTC-USDT@simex" + "." * 20 + "  limit 61250.10  " in line
    assert line.rstrip().endswith(AN_ID) if width == 100 else line.rstrip().endswith("…")
    assert len(line) <= width
