"""What an account is worth."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Self

from services.trading.domain.accounts import Account, Position, assets
from services.trading.domain.money import ZERO, exact


@dataclass(frozen=True, slots=True)
class Balance:
    """How much of an asset an account has."""

    currency: str
    total: Decimal
    reserved: Decimal

    @property
    @exact
    def available(self) -> Decimal:
        """What open orders do not hold."""
        return self.total - self.reserved


@dataclass(frozen=True, slots=True)
class Holding:
    """A position at a price."""

    position: Position
    last_price: Decimal

    @property
    @exact
    def market_value(self) -> Decimal:
        """Quantity times price."""
        return self.position.quantity * self.last_price

    @property
    @exact
    def unrealized_pnl(self) -> Decimal:
        """What selling it at that price would earn, before the fee of selling."""
        return self.market_value - self.position.cost


@dataclass(frozen=True, slots=True)
class Portfolio:
    """An account at the prices of a moment. Equity minus initial cash is realised plus unrealised profit, exactly."""

    account: Account
    holdings: tuple[Holding, ...]
    as_of: datetime

    @classmethod
    def of(cls, account: Account, prices: Mapping[str, Decimal], as_of: datetime) -> Self:
        """``account``, all its positions loaded, at ``prices``, which names every symbol that is held."""
        held = (position for _, position in sorted(account.positions.items()) if position.quantity)
        return cls(account, tuple(Holding(position, prices[position.symbol]) for position in held), as_of)

    @property
    @exact
    def equity(self) -> Decimal:
        """Cash plus the market value of every position."""
        return self.account.cash + sum((holding.market_value for holding in self.holdings), ZERO)

    @property
    @exact
    def realized_pnl(self) -> Decimal:
        """Profit of everything that was sold again."""
        return sum((position.realized_pnl for position in self.account.positions.values()), ZERO)

    @property
    @exact
    def unrealized_pnl(self) -> Decimal:
        """Profit of everything that is held."""
        return sum((holding.unrealized_pnl for holding in self.holdings), ZERO)

    @property
    def balances(self) -> list[Balance]:
        """The account's currency, then every asset that is held, by name."""
        account = self.account
        return [Balance(account.currency, account.cash, account.reserved_cash), *self._assets()]

    @exact
    def _assets(self) -> list[Balance]:
        by_asset: dict[str, Balance] = {}
        for holding in self.holdings:
            base, position = assets(holding.position.symbol)[0], holding.position
            known = by_asset.get(base, Balance(base, ZERO, ZERO))
            by_asset[base] = Balance(base, known.total + position.quantity, known.reserved + position.reserved)
        return [by_asset[base] for base in sorted(by_asset)]
