"""Symbols in PostgreSQL."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.marketdata.domain.market import AssetType, Symbol, SymbolState, exact

_SYMBOLS = sa.Table(
    "symbols",
    sa.MetaData(),
    sa.Column("symbol", sa.Text, primary_key=True),
    sa.Column("base", sa.Text),
    sa.Column("quote", sa.Text),
    sa.Column("source", sa.Text),
    sa.Column("source_symbol", sa.Text),
    sa.Column("price_step", sa.Numeric),
    sa.Column("quantity_step", sa.Numeric),
    sa.Column("min_notional", sa.Numeric),
    sa.Column("asset_type", sa.Text),
    sa.Column("state", sa.Text),
    sa.Column("min_quantity", sa.Numeric),
    sa.Column("max_quantity", sa.Numeric),
    sa.Column("book_depth", sa.Integer),
    sa.Column("version", sa.BigInteger),
    sa.Column("create_time", sa.DateTime(timezone=True)),
    sa.Column("update_time", sa.DateTime(timezone=True)),
    sa.Column("reported", JSONB),
    schema="marketdata",
)
_COLUMNS = [column for column in _SYMBOLS.columns if column.name != "reported"]
_REPORTED = ("source_symbol", "price_step", "quantity_step", "min_notional", "min_quantity", "max_quantity")
"""What a source decides about its markets."""


class PostgresSymbols:
    """Implements SymbolStore."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def symbols(self) -> list[Symbol]:
        async with self._engine.connect() as connection:
            rows = await connection.execute(sa.select(*_COLUMNS).order_by(_SYMBOLS.c.symbol))
            return [_symbol(row) for row in rows]

    async def put_reported(self, symbols: Sequence[Symbol]) -> None:
        async with self._engine.begin() as connection:
            # Always in the same order, so that two replicas that start at once do not wait for each other.
            for symbol in sorted(symbols, key=lambda each: each.symbol):
                await _put_reported(connection, symbol)

    async def add(self, symbol: Symbol) -> Symbol:
        async with self._engine.begin() as connection:
            await connection.execute(insert(_SYMBOLS).values(_row(symbol)).on_conflict_do_nothing())
            found = await _locked(connection, symbol.symbol)
            assert found is not None  # noqa: S101 - it was added, or was there, and is locked
            return found

    async def change(self, symbol: str, how: Callable[[Symbol], Symbol]) -> Symbol | None:
        async with self._engine.begin() as connection:
            found = await _locked(connection, symbol)
            if found is None or (wanted := how(found)) == found:
                return found
            return await _replace(connection, wanted)

    async def remove(self, symbol: str, check: Callable[[Symbol], None]) -> bool:
        async with self._engine.begin() as connection:
            found = await _locked(connection, symbol)
            if found is None:
                return False
            check(found)
            await connection.execute(sa.delete(_SYMBOLS).where(_SYMBOLS.c.symbol == symbol))
            return True


async def _put_reported(connection: AsyncConnection, symbol: Symbol) -> None:
    reported = _reported(symbol)
    added = await connection.execute(
        insert(_SYMBOLS).values(**_row(symbol), reported=reported).on_conflict_do_nothing().returning(_SYMBOLS.c.symbol)
    )
    if added.first() is not None:
        return
    mine = _SYMBOLS.c.symbol == symbol.symbol
    before = (await connection.execute(sa.select(_SYMBOLS.c.reported).where(mine).with_for_update())).scalar_one()
    if before == reported:
        return
    values: dict[str, Any] = {"reported": reported}
    if before is not None:
        values |= {name: getattr(symbol, name) for name in _REPORTED}
        values |= {"version": _SYMBOLS.c.version + 1, "update_time": sa.func.now()}
    await connection.execute(sa.update(_SYMBOLS).where(mine).values(values))


async def _locked(connection: AsyncConnection, symbol: str) -> Symbol | None:
    found = await connection.execute(sa.select(*_COLUMNS).where(_SYMBOLS.c.symbol == symbol).with_for_update())
    row = found.first()
    return None if row is None else _symbol(row)


async def _replace(connection: AsyncConnection, symbol: Symbol) -> Symbol:
    values = {name: value for name, value in _row(symbol).items() if name not in ("symbol", "version")}
    changed = await connection.execute(
        sa.update(_SYMBOLS)
        .where(_SYMBOLS.c.symbol == symbol.symbol)
        .values(**values, version=_SYMBOLS.c.version + 1, update_time=sa.func.now())
        .returning(*_COLUMNS)
    )
    return _symbol(changed.one())


def _row(symbol: Symbol) -> dict[str, Any]:
    return {
        "symbol": symbol.symbol,
        "base": symbol.base,
        "quote": symbol.quote,
        "source": symbol.source,
        "source_symbol": symbol.source_symbol,
        "price_step": symbol.price_step,
        "quantity_step": symbol.quantity_step,
        "min_notional": symbol.min_notional,
        "asset_type": symbol.asset_type.value,
        "state": symbol.state.value,
        "min_quantity": symbol.min_quantity,
        "max_quantity": symbol.max_quantity,
        "book_depth": symbol.book_depth,
        "version": symbol.version,
    }


def _symbol(row: Any) -> Symbol:
    values = row._asdict() | {"asset_type": AssetType(row.asset_type), "state": SymbolState(row.state)}
    return Symbol(**values)


def _reported(symbol: Symbol) -> dict[str, str | None]:
    """What the source says of the market, spelled so that equal numbers are equal."""
    return {name: _spelled(getattr(symbol, name)) for name in _REPORTED}


def _spelled(value: Decimal | str | None) -> str | None:
    return format(exact(value), "f") if isinstance(value, Decimal) else value
