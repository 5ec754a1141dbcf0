"""How the enumerations of market data are spelled on the command line."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from levimesh.marketdata.v1 import candle_pb2


class Interval(StrEnum):
    """The length of a candle."""

    one_second = "1s"
    five_seconds = "5s"
    one_minute = "1m"
    five_minutes = "5m"
    fifteen_minutes = "15m"
    one_hour = "1h"
    four_hours = "4h"
    one_day = "1d"

    @property
    def wire(self) -> "candle_pb2.Interval.ValueType":
        """As the contracts spell it."""
        return candle_pb2.Interval.Value(f"INTERVAL_{self.upper()}")


def spelled(name: Callable[[Any], str], value: int) -> str:
    """A value of the enumeration of which ``name`` tells the names: in lower-case words, without the name that they all
    begin with; empty for the one that is never sent."""
    common = name(0).removesuffix("UNSPECIFIED")
    return name(value).removeprefix(common).replace("_", " ").lower() if value else ""
