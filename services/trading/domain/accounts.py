"""Accounts: money, positions and what open orders hold of them. Nothing in them is ever negative."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from types import MappingProxyType
from typing import Self
from uuid import UUID, uuid5

from services.trading.domain.money import ZERO, exact, rounded_quotient
from services.trading.domain.orders import Fill, Order, Side
from services.trading.errors import InsufficientFunds, InsufficientPosition

_ACCOUNTS = UUID("0c4bb9a5-8e55-5d8b-9a83-52a1d7c3b6de")


def account_id_of(user_id: str) -> UUID:
    """The id of the one account of a user."""
    return uuid5(_ACCOUNTS, user_id)


def assets(symbol: str) -> tuple[str, str]:
    """Base and quote of a symbol, whose id is ``<base>-<quote>@<source>``."""
    base, quote = symbol.partition("@")[0].split("-")
    return base, quote


@dataclass(frozen=True, slots=True)
class Position:
    """What an account holds of a symbol, at average cost."""

    symbol: str
    quantity: Decimal = ZERO
    reserved: Decimal = ZERO
    """What open sell orders hold of it."""
    cost: Decimal = ZERO
    """What it cost, fees included."""
    realized_pnl: Decimal = ZERO
    """Profit of what was sold again, after the fees of both sides."""

    @property
    @exact
    def available(self) -> Decimal:
        """What can be sold."""
        return self.quantity - self.reserved

    @exact
    def after(self, fill: Fill) -> Self:
        """The position after ``fill``. A part that is sold takes its part of the cost along, rounded to 18 places."""
        if fill.side is Side.BUY:
            return replace(self, quantity=self.quantity + fill.quantity, cost=self.cost - fill.cash_change)
        whole = fill.quantity == self.quantity
        cost = self.cost if whole else min(self.cost, rounded_quotient(self.cost * fill.quantity, self.quantity))
        return replace(
            self,
            quantity=self.quantity - fill.quantity,
            cost=self.cost - cost,
            realized_pnl=self.realized_pnl + fill.cash_change - cost,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The paper account of a user. Its cash plus what its positions cost is what all its fills explain."""

    account_id: UUID
    user_id: str
    currency: str
    """The one currency that it pays and is paid in."""
    initial_cash: Decimal
    cash: Decimal
    reserved_cash: Decimal = ZERO
    """What open buy orders hold of the cash."""
    fees_paid: Decimal = ZERO
    positions: Mapping[str, Position] = field(default_factory=lambda: MappingProxyType({}))
    """By symbol, as far as they were loaded; those that hold nothing too."""

    @classmethod
    def opened(cls, user_id: str, currency: str, cash: Decimal) -> Self:
        """A new account."""
        account_id = account_id_of(user_id)
        return cls(account_id=account_id, user_id=user_id, currency=currency, initial_cash=cash, cash=cash)

    @property
    @exact
    def available_cash(self) -> Decimal:
        """What can be spent."""
        return self.cash - self.reserved_cash

    @exact
    def after(self, before: Order | None, order: Order, fills: Sequence[Fill]) -> Self:
        """The account when ``before`` (None: a new order) has become ``order`` by ``fills``.

        The fills are settled, and what the order reserves is brought up to date. Raises InsufficientFunds or
        InsufficientPosition when the account cannot afford it.
        """
        self._check_affordable(before, order, fills)
        position = self.positions[order.terms.symbol]
        for fill in fills:
            position = position.after(fill)
        freed_cash, freed_quantity = (before.reserved_cash, before.reserved_quantity) if before else (ZERO, ZERO)
        position = replace(position, reserved=position.reserved + order.reserved_quantity - freed_quantity)
        return replace(
            self,
            cash=self.cash + sum((fill.cash_change for fill in fills), ZERO),
            reserved_cash=self.reserved_cash + order.reserved_cash - freed_cash,
            fees_paid=self.fees_paid + sum((fill.fee for fill in fills), ZERO),
            positions=MappingProxyType({**self.positions, position.symbol: position}),
        )

    def _check_affordable(self, before: Order | None, order: Order, fills: Sequence[Fill]) -> None:
        base, quote = assets(order.terms.symbol)
        if order.terms.side is Side.BUY:
            required = order.reserved_cash - sum((fill.cash_change for fill in fills), ZERO)
            free = self.available_cash if quote == self.currency else ZERO
            available = free + (before.reserved_cash if before else ZERO)
            error: type[InsufficientFunds | InsufficientPosition] = InsufficientFunds
            currency = quote
        else:
            required = order.reserved_quantity + sum((fill.quantity for fill in fills), ZERO)
            available = self.positions[order.terms.symbol].available + (before.reserved_quantity if before else ZERO)
            error, currency = InsufficientPosition, base
        if required > available:
            raise error(
                f"the order needs {required:f} {currency} and {available:f} are free",
                required=f"{required:f}",
                available=f"{available:f}",
                currency=currency,
            )
