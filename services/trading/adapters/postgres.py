"""Orders, accounts and their money in PostgreSQL: the unit of work that writes them."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Executable, RowMapping, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.trading.adapters import statements, tables
from services.trading.adapters.tables import accounts, orders
from services.trading.converters import order_to_pb
from services.trading.domain.accounts import Account, Position, account_id_of
from services.trading.domain.markets import Trade
from services.trading.domain.orders import Fill, Order, OrderStatus, Side
from services.trading.ports import ConcurrentChange, UnitOfWork

OPEN = (OrderStatus.OPEN.value, OrderStatus.PARTIALLY_FILLED.value)


class SqlUnits:
    """Begins units of work, and tells ``committed`` when one has put something into the outbox."""

    def __init__(
        self, engine: AsyncEngine, currency: str, initial_cash: Decimal, committed: Callable[[], None]
    ) -> None:
        self._engine = engine
        self._currency = currency
        self._initial_cash = initial_cash
        self._committed = committed

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[UnitOfWork]:
        async with self._engine.connect() as connection:
            yield _SqlUnitOfWork(connection, self._currency, self._initial_cash, self._committed)


class _SqlUnitOfWork:
    def __init__(
        self, connection: AsyncConnection, currency: str, initial_cash: Decimal, committed: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._currency = currency
        self._initial_cash = initial_cash
        self._committed = committed

    async def account(self, user_id: str, symbol: str | None = None) -> Account:
        account_id = account_id_of(user_id)
        rows = await self._rows(statements.LOCK_ACCOUNT, account_id=account_id)
        if not rows:
            await self._open(user_id)
            rows = await self._rows(statements.LOCK_ACCOUNT, account_id=account_id)
        # Only now, in a statement of its own: one that waits for the lock would read these as they were before.
        held = await self._positions([(account_id, symbol)]) if symbol else {}
        return tables.account_from(rows[0], held.get(account_id, {}))

    async def accounts_of(self, orders: Sequence[Order]) -> dict[UUID, Account]:
        wanted = {(order.account_id, order.terms.symbol) for order in orders}
        rows = await self._rows(statements.LOCK_ACCOUNTS, account_ids=list({account_id for account_id, _ in wanted}))
        held = await self._positions(wanted)
        return {row["account_id"]: tables.account_from(row, held[row["account_id"]]) for row in rows}

    async def order(self, account_id: UUID, order_id: UUID) -> Order | None:
        rows = await self._rows(statements.ORDER, account_id=account_id, order_id=order_id)
        return tables.order_from(rows[0]) if rows else None

    async def order_by_client_id(self, account_id: UUID, client_order_id: str) -> Order | None:
        rows = await self._rows(statements.ORDER_BY_CLIENT_ID, account_id=account_id, client_order_id=client_order_id)
        return tables.order_from(rows[0]) if rows else None

    async def crossed_orders(self, trades: Sequence[Trade]) -> list[Order]:
        query = select(orders).where(orders.c.status.in_(OPEN), or_(*_crossed(trades))).order_by(orders.c.sequence)
        return [tables.order_from(row) for row in await self._rows(query)]

    async def unused(self, trades: Sequence[Trade]) -> list[Trade]:
        by_id = {(trade.symbol, trade.trade_id): trade for trade in trades}
        rows = await self._rows(
            statements.USED_TRADES,
            symbols=list({symbol for symbol, _ in by_id}),
            trade_ids=[trade_id for _, trade_id in by_id],
        )
        used = {(row["symbol"], row["venue_trade_id"]) for row in rows}
        return [trade for identity, trade in by_id.items() if identity not in used]

    async def record(self, account: Account, order: Order, new_fills: Sequence[Fill]) -> None:
        statement = statements.RECORD_NEW_ORDER if order.version == 1 else statements.RECORD_CHANGED_ORDER
        parameters = statements.record_parameters(account, order, order_to_pb(order).SerializeToString())
        if (await self._connection.execute(statement, parameters)).rowcount != 1:
            raise ConcurrentChange(f"order {order.order_id} is not at version {order.version - 1}")
        if new_fills:
            rows = [tables.fill_row(fill, order) for fill in new_fills]
            await self._connection.execute(statements.ADD_FILLS, rows)

    async def save_cursor(self, stream: str, resume_token: str) -> None:
        await self._connection.execute(statements.SAVE_CURSOR, {"stream": stream, "resume_token": resume_token})

    async def commit(self) -> None:
        await self._connection.commit()
        self._committed()

    async def _open(self, user_id: str) -> None:
        account = Account.opened(user_id, self._currency, self._initial_cash)
        row = {column.name: getattr(account, column.name) for column in accounts.columns}
        await self._connection.execute(statements.OPEN_ACCOUNT, row)

    async def _positions(self, wanted: Iterable[tuple[UUID, str]]) -> dict[UUID, dict[str, Position]]:
        held: dict[UUID, dict[str, Position]] = {}
        for account_id, symbol in wanted:
            held.setdefault(account_id, {})[symbol] = Position(symbol)
        symbols = {symbol for positions in held.values() for symbol in positions}
        for row in await self._rows(statements.POSITIONS, account_ids=list(held), symbols=list(symbols)):
            held[row["account_id"]][row["symbol"]] = tables.position_from(row)
        return held

    async def _rows(self, statement: Executable, **parameters: Any) -> Sequence[RowMapping]:
        return (await self._connection.execute(statement, parameters)).mappings().all()


def _crossed(trades: Sequence[Trade]) -> list[ColumnElement[bool]]:
    """For each symbol: buys down to its lowest trade, and sells up to its highest."""
    prices: dict[str, list[Decimal]] = {}
    for trade in trades:
        prices.setdefault(trade.symbol, []).append(trade.price)
    return [
        and_(
            orders.c.symbol == symbol,
            or_(
                and_(orders.c.side == Side.BUY.value, orders.c.limit_price >= min(traded)),
                and_(orders.c.side == Side.SELL.value, orders.c.limit_price <= max(traded)),
            ),
        )
        for symbol, traded in sorted(prices.items())
    ]
