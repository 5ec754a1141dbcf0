"""Orders, fills and balances of the account in SQLite, on disk before anybody is told of them."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from services.simex.orders import ZERO, Fill, Order, OrderType, Side, Status, TimeInForce

_SCHEMA = """
CREATE TABLE IF NOT EXISTS balances (asset TEXT PRIMARY KEY, free TEXT NOT NULL, locked TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT, symbol TEXT NOT NULL, client_id TEXT NOT NULL, side TEXT NOT NULL,
    type TEXT NOT NULL, time_in_force TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL,
    quote_quantity TEXT NOT NULL, status TEXT NOT NULL, executed TEXT NOT NULL, quote_executed TEXT NOT NULL,
    created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, matched_id INTEGER NOT NULL) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS open_client_ids ON orders (client_id) WHERE status IN ('NEW', 'PARTIALLY_FILLED');
CREATE INDEX IF NOT EXISTS client_ids ON orders (symbol, client_id);
CREATE VIEW IF NOT EXISTS open_orders AS SELECT * FROM orders WHERE status IN ('NEW', 'PARTIALLY_FILLED');
CREATE TABLE IF NOT EXISTS fills (
    id INTEGER PRIMARY KEY AUTOINCREMENT, order_id INTEGER NOT NULL REFERENCES orders (id), symbol TEXT NOT NULL,
    side TEXT NOT NULL, price TEXT NOT NULL, quantity TEXT NOT NULL, commission TEXT NOT NULL,
    commission_asset TEXT NOT NULL, time_ms INTEGER NOT NULL, is_maker INTEGER NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS fills_of_orders ON fills (order_id);
"""
_SET_BALANCE = """
INSERT INTO balances VALUES (:asset, :free, :locked)
ON CONFLICT DO UPDATE SET free = excluded.free, locked = excluded.locked
"""
_ADD_ORDER = """
INSERT INTO orders (symbol, client_id, side, type, time_in_force, price, quantity, quote_quantity, status, executed,
                    quote_executed, created_ms, updated_ms, matched_id)
VALUES (:symbol, :client_id, :side, :type, :time_in_force, :price, :quantity, :quote_quantity, :status, :executed,
        :quote_executed, :created_ms, :updated_ms, :matched_id)
"""
_UPDATE_ORDER = """
UPDATE orders SET status = :status, executed = :executed, quote_executed = :quote_executed, updated_ms = :updated_ms,
                  matched_id = :matched_id
WHERE id = :id
"""
_ADD_FILL = """
INSERT INTO fills (order_id, symbol, side, price, quantity, commission, commission_asset, time_ms, is_maker)
VALUES (:order_id, :symbol, :side, :price, :quantity, :commission, :commission_asset, :time_ms, :is_maker)
"""
_ORDERS = """
SELECT * FROM orders WHERE symbol = ? AND id >= ? AND created_ms BETWEEN ? AND ?
ORDER BY CASE WHEN ? THEN id ELSE -id END LIMIT ?
"""
_FILLS = """
SELECT * FROM fills WHERE symbol = ? AND id >= ? AND time_ms BETWEEN ? AND ?
ORDER BY CASE WHEN ? THEN id ELSE -id END LIMIT ?
"""
_KINDS = {"side": Side, "type": OrderType, "time_in_force": TimeInForce, "status": Status}

_Record = TypeVar("_Record", Order, Fill, "Balance")


@dataclass(frozen=True)
class Balance:
    """What the account owns of an asset: free, and locked in open orders."""

    asset: str
    free: Decimal = ZERO
    locked: Decimal = ZERO


@dataclass(frozen=True)
class Page:
    """Which of a symbol's records are asked for: by id from ``first_id`` on, or the newest where it is 0."""

    symbol: str
    first_id: int
    start_ms: int
    end_ms: int
    limit: int


class Ledger:
    """The account's books; without a path they last as long as the process.

    Writes happen inside :meth:`transaction`, which has reached the disk when it ends.
    """

    def __init__(self, path: Path | None, first_balances: Mapping[str, Decimal]) -> None:
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.executescript(_SCHEMA)
        with self.transaction():
            if not self.balances():
                for asset, amount in first_balances.items():
                    self.set_balance(Balance(asset, amount))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none does."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def balances(self) -> list[Balance]:
        """All balances, by asset."""
        return self._all(Balance, "SELECT * FROM balances ORDER BY asset")

    def balance(self, asset: str) -> Balance:
        """The balance of ``asset``, nothing where it was never owned."""
        found = self._all(Balance, "SELECT * FROM balances WHERE asset = ?", asset)
        return found[0] if found else Balance(asset)

    def set_balance(self, balance: Balance) -> None:
        """Write a balance; a negative one is a defect of simex and raises ValueError."""
        if balance.free < 0 or balance.locked < 0:
            raise ValueError(f"the balance of {balance.asset} would become negative")
        self._connection.execute(_SET_BALANCE, _plain(balance))

    def add_order(self, order: Order) -> Order:
        """Write a new order; gives it with its id."""
        return replace(order, id=self._connection.execute(_ADD_ORDER, _plain(order)).lastrowid or 0)

    def update_order(self, order: Order) -> None:
        """Write down how far an order has come."""
        self._connection.execute(_UPDATE_ORDER, _plain(order))

    def add_fill(self, fill: Fill) -> Fill:
        """Write a new fill; gives it with its id."""
        return replace(fill, id=self._connection.execute(_ADD_FILL, _plain(fill)).lastrowid or 0)

    def order(self, symbol: str, order_id: int | None, client_id: str | None) -> Order | None:
        """The order with this id, or the latest with this client id."""
        if order_id is not None:
            found = self._all(Order, "SELECT * FROM orders WHERE symbol = ? AND id = ?", symbol, order_id)
        else:
            statement = "SELECT * FROM orders WHERE symbol = ? AND client_id = ? ORDER BY id DESC LIMIT 1"
            found = self._all(Order, statement, symbol, client_id)
        return found[0] if found else None

    def has_open_order(self, client_id: str) -> bool:
        """Whether an open order has this client id."""
        return bool(self._all(Order, "SELECT * FROM open_orders WHERE client_id = ?", client_id))

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """The orders of a symbol, or of all, that wait in the book; oldest first."""
        if symbol is None:
            return self._all(Order, "SELECT * FROM open_orders ORDER BY id")
        return self._all(Order, "SELECT * FROM open_orders WHERE symbol = ? ORDER BY id", symbol)

    def orders(self, page: Page) -> list[Order]:
        """A page of orders by id, in the span of time in which they were created."""
        return self._page(Order, _ORDERS, page)

    def fills(self, page: Page) -> list[Fill]:
        """A page of fills by id, in the span of time in which they happened."""
        return self._page(Fill, _FILLS, page)

    def fills_of(self, symbol: str, order_id: int) -> list[Fill]:
        """The fills of one order."""
        return self._all(Fill, "SELECT * FROM fills WHERE symbol = ? AND order_id = ? ORDER BY id", symbol, order_id)

    def _page(self, kind: type[_Record], statement: str, page: Page) -> list[_Record]:
        ahead = page.first_id > 0
        rows = self._all(kind, statement, page.symbol, page.first_id, page.start_ms, page.end_ms, ahead, page.limit)
        return rows if ahead else rows[::-1]

    def _all(self, kind: type[_Record], statement: str, *values: Any) -> list[_Record]:
        return [kind(**_typed(kind, row)) for row in self._connection.execute(statement, values)]


def _plain(record: Order | Fill | Balance) -> dict[str, Any]:
    """The record's values as SQLite takes them."""
    return {name: str(value) if isinstance(value, Decimal) else value for name, value in vars(record).items()}


def _typed(kind: type[_Record], row: sqlite3.Row) -> dict[str, Any]:
    """The values of a row with the types that ``kind`` has."""
    values: dict[str, Any] = {}
    for field in fields(kind):
        value = row[field.name]
        if field.type is Decimal:
            value = Decimal(value)
        elif field.type is bool:
            value = bool(value)
        values[field.name] = _KINDS[field.name](value) if field.name in _KINDS else value
    return values
