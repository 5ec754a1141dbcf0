"""What trading needs of the world, in its own words."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Generic, Protocol, TypeVar
from uuid import UUID

from services.trading.domain.accounts import Account
from services.trading.domain.markets import Price, Symbol, Trade
from services.trading.domain.orders import Fees, Fill, Order

T = TypeVar("T")


class Market(Protocol):
    """The live market as this process knows it now; asking costs nothing."""

    def symbol(self, symbol: str) -> Symbol:
        """The symbol of that id. Raises SymbolNotFound, or MarketDataUnavailable before the first contact."""

    def price(self, symbol: str) -> Price:
        """The newest price. Raises StaleMarketData when there is none that may be traded on."""

    def last_prices(self, symbols: Collection[str]) -> Mapping[str, Decimal]:
        """The newest price of each of ``symbols``, however old. Raises MarketDataUnavailable when one has none yet."""


class Venue(Protocol):
    """Where orders are executed.

    Paper decides at once and without input or output, so its answer is recorded in the transaction that records the
    order. A venue on a network has to be sent the order after that transaction, and reports its fills afterwards.
    """

    @property
    def fees(self) -> Fees:
        """What it charges orders that are submitted now."""

    def place(self, order: Order) -> Sequence[Fill]:
        """Take ``order``, and return what of it fills at once. Raises StaleMarketData."""


class Matcher(Protocol):
    """Lets the market's trades fill resting orders."""

    def match(self, orders: Sequence[Order], trades: Sequence[Trade]) -> Sequence[Fill]:
        """The fills of ``orders``, the oldest first, by ``trades``, in the order in which they happened."""


class UnitOfWork(Protocol):
    """One transaction. Without ``commit`` nothing of it has happened."""

    async def account(self, user_id: str, symbol: str | None = None) -> Account:
        """The account of a user with its position in ``symbol``, opened if this is the owner's first call.

        No other transaction changes it, its orders or its positions until this one ends.
        """

    async def accounts_of(self, orders: Sequence[Order]) -> dict[UUID, Account]:
        """The accounts of ``orders`` by id, with the positions in the orders' symbols; held as by ``account``."""

    async def order(self, account_id: UUID, order_id: UUID) -> Order | None:
        """An order of an account."""

    async def order_by_client_id(self, account_id: UUID, client_order_id: str) -> Order | None:
        """The order that an account gave this id."""

    async def crossed_orders(self, trades: Sequence[Trade]) -> list[Order]:
        """The open limit orders at whose price or through it one of ``trades`` went, the oldest first."""

    async def unused(self, trades: Sequence[Trade]) -> list[Trade]:
        """Those of ``trades`` that have not filled anything: a stream may repeat itself, and a trade fills once."""

    async def record(self, account: Account, order: Order, fills: Sequence[Fill]) -> None:
        """Store what ``order`` has become, the new ``fills``, and the account and position after them.

        The change goes to the outbox in the same step, so it is published if and only if it is committed. Raises
        ConcurrentChange when ``order`` is not the version after the stored one.
        """

    async def save_cursor(self, stream: str, resume_token: str) -> None:
        """Remember how far a stream has been acted upon."""

    async def commit(self) -> None:
        """Make it all happen."""


class ConcurrentChange(Exception):
    """Somebody else changed the order in between, which the hold on its account should have prevented."""


class Units(Protocol):
    """Begins units of work."""

    def __call__(self) -> AbstractAsyncContextManager[UnitOfWork]: ...


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a listing, the newest first."""

    items: Sequence[T]
    next_before: int | None
    """Where the next part begins; None when this is the last."""


class Records(Protocol):
    """What has been committed, to be read."""

    async def account(self, user_id: str) -> Account | None:
        """The account of a user with all its positions, as of one moment; None when it was never opened."""

    async def order(self, account_id: UUID, order_id: UUID) -> Order | None:
        """An order of an account."""

    async def orders(
        self, account_id: UUID, *, symbol: str | None, open_only: bool, limit: int, before: int | None
    ) -> Page[Order]:
        """Orders of an account."""

    async def fills(self, account_id: UUID, *, order_id: UUID | None, limit: int, before: int | None) -> Page[Fill]:
        """Fills of an account."""

    async def cursor(self, stream: str) -> str:
        """The resume token that was saved last; empty when there is none."""


@dataclass(frozen=True, slots=True)
class StrategyRun:
    """Whether a strategy runs, and for whom."""

    strategy: str
    user_id: str
    account_id: UUID
    running: bool
    changed_at: datetime


class StrategyRuns(Protocol):
    """The state of the strategies, which outlives the process."""

    async def all(self) -> dict[str, StrategyRun]:
        """The strategies that were ever started, by name."""

    async def start(self, strategy: str, user_id: str, account_id: UUID, at: datetime) -> StrategyRun:
        """Let it run for the account. Returns who it runs for now: not this account, if another one holds it."""

    async def stop(self, strategy: str, account_id: UUID, at: datetime) -> None:
        """Stop it, if it runs for this account."""
