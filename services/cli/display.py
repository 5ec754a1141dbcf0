"""How things look in the terminal: aligned, times in UTC, and as wide as the terminal at most."""

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.decimal_pb2 import Decimal as WireDecimal
from rich.console import Console
from rich.table import Table
from rich.text import Text

from levimesh.policy.v1 import policy_pb2
from levimesh.prediction.v1 import prediction_pb2
from levimesh.trading.v1 import order_pb2

console = Console(markup=False, emoji=False, highlight=False)
errors = Console(stderr=True, markup=False, emoji=False, highlight=False)

_UNLIMITED = 10_000
_SHRUNK = 9


def table(title: str, *columns: str, numbers: Iterable[str] = (), shrinking: str = "") -> Table:
    """An empty table.

    The columns in ``numbers`` are aligned to the right. Where the terminal is too narrow, the column ``shrinking`` gets
    shorter, and no other.
    """
    right = set(numbers)
    made = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for column in columns:
        shrinks = column == shrinking
        made.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=not shrinks,
            overflow="ellipsis",
            min_width=_SHRUNK if shrinks else None,
        )
    return made


def show(shown: Table) -> None:
    """Print ``shown``; in full where no terminal limits it, as in a file or a pipe."""
    if not console.is_terminal:
        shown.width = console.measure(shown, options=console.options.update(max_width=_UNLIMITED)).maximum
    console.print(shown, crop=console.is_terminal)


def record(*rows: tuple[str, str | Text]) -> Table:
    """Names and values of one thing; those without a value are left out."""
    made = Table.grid(padding=(0, 3, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value:
            made.add_row(name, value)
    return made


def when(moment: Timestamp) -> str:
    """``moment`` to the second, in UTC; empty when it is not set."""
    return moment.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S") if moment.seconds else ""


def lately(moment: Timestamp, now: datetime | None = None) -> str:
    """``moment`` in few characters: the time of today (UTC), the day and time of this year, or the day."""
    told, now = moment.ToDatetime(UTC), now or datetime.now(UTC)
    if told.date() == now.date():
        return told.strftime("%H:%M:%S")
    return told.strftime("%m-%d %H:%M" if told.year == now.year else "%Y-%m-%d")


def seconds(value: Duration) -> str:
    """``value`` in its largest whole unit, such as ``90 s``, ``2 min``, ``1 h``; empty when it is zero or not set."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if value.seconds and value.seconds % size == 0:
            return f"{value.seconds // size} {unit}"
    return f"{value.ToTimedelta().total_seconds():.3g} s" if value.seconds or value.nanos else ""


def roles(values: "Iterable[policy_pb2.Role.ValueType]") -> str:
    """Roles as the command line spells them."""
    return ", ".join(policy_pb2.Role.Name(role).removeprefix("ROLE_").lower() for role in values)


def tier(value: "policy_pb2.RateTier.ValueType") -> str:
    """A rate tier as the command line spells it; empty for that of the role."""
    return policy_pb2.RateTier.Name(value).removeprefix("RATE_TIER_").lower() if value else ""


def number(value: WireDecimal) -> str:
    """``value`` as it is, without trailing zeros after the point; empty when it is not set."""
    return _plain(Decimal(value.value)) if value.value else ""


def rounded(value: WireDecimal) -> str:
    """``value`` in seven significant digits, and at least cents: for means and fees, which have many more."""
    if not value.value:
        return ""
    amount = Decimal(value.value)
    places = max(2, 6 - amount.adjusted()) if amount else 0
    return _plain(round(amount, places))


def money(value: WireDecimal) -> str:
    """``value`` rounded to cents, with thousands separated. For reading; exact figures come with ``--json``."""
    return f"{Decimal(value.value or 0):,.2f}"


def gain(value: WireDecimal) -> Text:
    """``value`` rounded to cents, green above zero and red below."""
    amount = Decimal(value.value or 0)
    return Text(f"{amount:+,.2f}", style="green" if amount > 0 else "red" if amount < 0 else "")


def side(value: "order_pb2.Side.ValueType") -> Text:
    """BUY or SELL in its colour."""
    name = order_pb2.Side.Name(value).removeprefix("SIDE_")
    return Text(name, style="green" if value == order_pb2.SIDE_BUY else "red")


def direction(value: "prediction_pb2.Direction.ValueType") -> Text:
    """UP, DOWN or NEUTRAL in its colour."""
    name = prediction_pb2.Direction.Name(value).removeprefix("DIRECTION_")
    return Text(name, style={"UP": "green", "DOWN": "red"}.get(name, "dim"))


def status(order: order_pb2.Order) -> str:
    """Where ``order`` stands, in lower-case words."""
    if order.status == order_pb2.ORDER_STATUS_PARTIALLY_FILLED:
        return f"{number(order.filled_quantity)} filled"
    return order_pb2.OrderStatus.Name(order.status).removeprefix("ORDER_STATUS_").replace("_", " ").lower()


def price(order: order_pb2.Order) -> str:
    """The mean price of what has filled of ``order``, or else its limit."""
    if order.HasField("average_fill_price"):
        return rounded(order.average_fill_price)
    return f"limit {number(order.limit_price)}" if order.HasField("limit_price") else "market"


def _plain(value: Decimal) -> str:
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
