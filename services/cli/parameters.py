"""Arguments and options that several commands have, and how their text is read."""

import re
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal

from levimesh.policy.v1 import policy_pb2

_SYMBOL = re.compile(r"[A-Za-z0-9.]+-[A-Za-z0-9]+@[A-Za-z0-9_]+")
_SPAN = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_PLAIN_DIGITS = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


def _spelled(symbol: str) -> str:
    """``btc-usdt@simex`` is taken for ``BTC-USDT@simex``."""
    if not _SYMBOL.fullmatch(symbol):
        raise typer.BadParameter(f"{symbol!r} is not a symbol such as BTC-USDT@simex")
    market, _, source = symbol.partition("@")
    return f"{market.upper()}@{source.lower()}"


Symbol = Annotated[
    str, typer.Argument(help="For example BTC-USDT@simex; `levimesh symbols` lists them.", parser=_spelled)
]
Symbols = Annotated[list[str] | None, typer.Argument(help="Only these symbols.", parser=_spelled)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, with exact numbers.")]
Limit = Annotated[int, typer.Option(help="How many, the newest.", min=1, max=1000)]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Read the password from this file.", exists=True, dir_okay=False)
]


class Tier(StrEnum):
    """A rate tier as the command line spells it."""

    standard = "standard"
    elevated = "elevated"

    @property
    def wire(self) -> "policy_pb2.RateTier.ValueType":
        """As the contracts spell it."""
        return policy_pb2.RateTier.Value(f"RATE_TIER_{self.upper()}")


RateTier = Annotated[
    Tier | None, typer.Option("--tier", help="How much may be called; as the role has it, without it.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")]


def invalid(parameter: str, problem: str) -> typer.BadParameter:
    """A usage error of ``parameter``."""
    return typer.BadParameter(problem, param_hint=parameter)


def password(file: Path | None, prompt: str, *, twice: bool = False) -> str:
    """The content of ``file`` without the end of its line, or what is typed at ``prompt``."""
    if file is not None:
        try:
            return file.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise invalid(str(file), f"it holds no password: {error}") from None
    typed: str = typer.prompt(prompt, hide_input=True, confirmation_prompt=twice)
    return typed


def span(parameter: str, text: str) -> Duration:
    """The time that ``text`` (such as ``90d``, ``12h``, ``30m`` or ``45s``) takes."""
    if not (told := _SPAN.fullmatch(text)):
        raise invalid(parameter, f"{text!r} is not a span of time such as 90d, 12h, 30m or 45s")
    return Duration(seconds=int(told[1]) * _UNITS[told[2]])


def decimal(parameter: str, text: str) -> WireDecimal:
    """``text`` as it is, if it is a number in plain digits; the mesh decides about its size and digits."""
    if not _PLAIN_DIGITS.fullmatch(text):
        raise invalid(parameter, f"{text!r} is not a positive number in plain digits, such as 0.05")
    return WireDecimal(value=text)


def moment(parameter: str, text: str) -> Timestamp:
    """The time that ``text`` (ISO 8601; UTC when it names no zone) tells."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(parameter, f"{text!r} is not a time such as 2024-08-08T23:55") from None
    stamp = Timestamp()
    stamp.FromDatetime(told if told.tzinfo else told.replace(tzinfo=UTC))
    return stamp
