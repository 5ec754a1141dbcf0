"""The statements of the unit of work. They are built once, because building one costs more than running it."""

from typing import Any

from sqlalchemy import CTE, Insert, LargeBinary, Table, Text, bindparam, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from services.trading.adapters import tables
from services.trading.adapters.tables import accounts, cursors, fills, orders, outbox, positions
from services.trading.domain.accounts import Account
from services.trading.domain.orders import Order

_ACCOUNT_CHANGES = ("cash", "reserved_cash", "fees_paid")
_POSITION_CHANGES = ("quantity", "reserved", "cost", "realized_pnl")
_ORDER_CHANGES = ("status", "filled_quantity", "filled_notional", "fee", "updated_at", "version")

LOCK_ACCOUNT = select(accounts).where(accounts.c.account_id == bindparam("account_id")).with_for_update()

LOCK_ACCOUNTS = (
    select(accounts)
    .where(accounts.c.account_id.in_(bindparam("account_ids", expanding=True)))
    # Always in the same order, so that two transactions never wait for each other.
    .order_by(accounts.c.account_id)
    .with_for_update()
)

POSITIONS = select(positions).where(
    positions.c.account_id.in_(bindparam("account_ids", expanding=True)),
    positions.c.symbol.in_(bindparam("symbols", expanding=True)),
)

ORDER = select(orders).where(orders.c.account_id == bindparam("account_id"), orders.c.order_id == bindparam("order_id"))

ORDER_BY_CLIENT_ID = select(orders).where(
    orders.c.account_id == bindparam("account_id"), orders.c.client_order_id == bindparam("client_order_id")
)

USED_TRADES = select(fills.c.symbol, fills.c.venue_trade_id).where(
    fills.c.symbol.in_(bindparam("symbols", expanding=True)),
    fills.c.venue_trade_id.in_(bindparam("trade_ids", expanding=True)),
)

OPEN_ACCOUNT = upsert(accounts).on_conflict_do_nothing()

ADD_FILLS = insert(fills)

_cursor = upsert(cursors)
SAVE_CURSOR = _cursor.on_conflict_do_update(
    index_elements=["stream"], set_={"resume_token": _cursor.excluded.resume_token}
)


def _parameters(prefix: str, table: Table, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: bindparam(f"{prefix}_{name}", type_=table.c[name].type) for name in names}


def _recording(order: CTE) -> Insert:
    """Account, position and outbox, together with what ``order`` writes; the outbox only if that wrote a row."""
    account = (
        update(accounts)
        .where(accounts.c.account_id == bindparam("of_account"))
        .values(_parameters("account", accounts, _ACCOUNT_CHANGES))
    )
    position = upsert(positions).values(
        _parameters("position", positions, ("account_id", "symbol", *_POSITION_CHANGES))
    )
    position = position.on_conflict_do_update(
        index_elements=["account_id", "symbol"], set_={name: position.excluded[name] for name in _POSITION_CHANGES}
    )
    event = select(bindparam("outbox_key", type_=Text), bindparam("outbox_event", type_=LargeBinary)).select_from(order)
    return (
        insert(outbox)
        .from_select(["key", "event"], event)
        .add_cte(account.cte("written_account"), position.cte("written_position"))
    )


_ORDER_COLUMNS = tuple(column.name for column in orders.columns if column.name != "sequence")

RECORD_NEW_ORDER = _recording(
    insert(orders)
    .values(_parameters("order", orders, _ORDER_COLUMNS))
    .returning(orders.c.order_id)
    .cte("written_order")
)

RECORD_CHANGED_ORDER = _recording(
    update(orders)
    .where(orders.c.order_id == bindparam("order_order_id"), orders.c.version == bindparam("previous_version"))
    .values(_parameters("order", orders, _ORDER_CHANGES))
    .returning(orders.c.order_id)
    .cte("written_order")
)


def record_parameters(account: Account, order: Order, event: bytes) -> dict[str, Any]:
    """What ``RECORD_NEW_ORDER`` and ``RECORD_CHANGED_ORDER`` are run with."""
    position = account.positions[order.terms.symbol]
    return {
        "of_account": account.account_id,
        **{f"account_{name}": getattr(account, name) for name in _ACCOUNT_CHANGES},
        "position_account_id": account.account_id,
        "position_symbol": position.symbol,
        **{f"position_{name}": getattr(position, name) for name in _POSITION_CHANGES},
        **{f"order_{name}": value for name, value in tables.order_row(order).items()},
        "previous_version": order.version - 1,
        "outbox_key": str(order.account_id),
        "outbox_event": event,
    }
