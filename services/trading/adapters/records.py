"""What has been committed, read from PostgreSQL, and the state of the strategies there."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Table, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from services.trading.adapters import tables
from services.trading.adapters.postgres import OPEN
from services.trading.adapters.tables import accounts, cursors, fills, orders, positions, strategies
from services.trading.domain.accounts import Account, account_id_of
from services.trading.domain.orders import Fill, Order
from services.trading.ports import Page, StrategyRun

T = TypeVar("T")


class SqlRecords:
    """The records; each answer is one statement, so it is of one moment."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def account(self, user_id: str) -> Account | None:
        query = (
            select(accounts, *(column for column in positions.columns if column.name != "account_id"))
            .outerjoin(positions, positions.c.account_id == accounts.c.account_id)
            .where(accounts.c.account_id == account_id_of(user_id))
        )
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        if not rows:
            return None
        held = {row["symbol"]: tables.position_from(row) for row in rows if row["symbol"] is not None}
        return tables.account_from(rows[0], held)

    async def order(self, account_id: UUID, order_id: UUID) -> Order | None:
        query = select(orders).where(orders.c.account_id == account_id, orders.c.order_id == order_id)
        async with self._engine.connect() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else tables.order_from(row)

    async def orders(
        self, account_id: UUID, *, symbol: str | None, open_only: bool, limit: int, before: int | None
    ) -> Page[Order]:
        conditions = [orders.c.account_id == account_id]
        if symbol is not None:
            conditions.append(orders.c.symbol == symbol)
        if open_only:
            conditions.append(orders.c.status.in_(OPEN))
        return await self._page(orders, conditions, limit, before, tables.order_from)

    async def fills(self, account_id: UUID, *, order_id: UUID | None, limit: int, before: int | None) -> Page[Fill]:
        conditions = [fills.c.account_id == account_id]
        if order_id is not None:
            conditions.append(fills.c.order_id == order_id)
        return await self._page(fills, conditions, limit, before, tables.fill_from)

    async def cursor(self, stream: str) -> str:
        query = select(cursors.c.resume_token).where(cursors.c.stream == stream)
        async with self._engine.connect() as connection:
            return (await connection.execute(query)).scalar_one_or_none() or ""

    async def _page(
        self,
        table: Table,
        conditions: Sequence[ColumnElement[bool]],
        limit: int,
        before: int | None,
        convert: Callable[[RowMapping], T],
    ) -> Page[T]:
        query = select(table).where(*conditions).order_by(table.c.sequence.desc()).limit(limit + 1)
        if before is not None:
            query = query.where(table.c.sequence < before)
        async with self._engine.connect() as connection:
            rows = (await connection.execute(query)).mappings().all()
        more = len(rows) > limit
        return Page([convert(row) for row in rows[:limit]], rows[limit - 1]["sequence"] if more else None)


class SqlStrategyRuns:
    """The state of the strategies."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def all(self) -> dict[str, StrategyRun]:
        async with self._engine.connect() as connection:
            rows = (await connection.execute(select(strategies))).mappings().all()
        return {row["strategy"]: StrategyRun(**row) for row in rows}

    async def start(self, strategy: str, user_id: str, account_id: UUID, at: datetime) -> StrategyRun:
        run = {"user_id": user_id, "account_id": account_id, "running": True, "changed_at": at}
        take = (
            upsert(strategies)
            .values(strategy=strategy, **run)
            .on_conflict_do_update(index_elements=["strategy"], set_=run, where=~strategies.c.running)
        )
        async with self._engine.begin() as connection:
            await connection.execute(take)
            query = select(strategies).where(strategies.c.strategy == strategy)
            return StrategyRun(**(await connection.execute(query)).mappings().one())

    async def stop(self, strategy: str, account_id: UUID, at: datetime) -> None:
        end = (
            update(strategies)
            .where(strategies.c.strategy == strategy, strategies.c.account_id == account_id, strategies.c.running)
            .values(running=False, changed_at=at)
        )
        async with self._engine.begin() as connection:
            await connection.execute(end)
