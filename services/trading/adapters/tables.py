"""The tables of the schema ``trading``, as the migrations make them, and their rows as domain values."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.engine import RowMapping

from services.trading.domain.accounts import Account, Position
from services.trading.domain.orders import Fill, Liquidity, Order, OrderStatus, OrderTerms, OrderType, Side

_metadata = MetaData(schema="trading")
_time = DateTime(timezone=True)

accounts = Table(
    "accounts",
    _metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("user_id", Text),
    Column("currency", Text),
    Column("initial_cash", Numeric),
    Column("cash", Numeric),
    Column("reserved_cash", Numeric),
    Column("fees_paid", Numeric),
)
positions = Table(
    "positions",
    _metadata,
    Column("account_id", Uuid, primary_key=True),
    Column("symbol", Text, primary_key=True),
    Column("quantity", Numeric),
    Column("reserved", Numeric),
    Column("cost", Numeric),
    Column("realized_pnl", Numeric),
)
orders = Table(
    "orders",
    _metadata,
    Column("order_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True)),
    Column("account_id", Uuid),
    Column("client_order_id", Text),
    Column("symbol", Text),
    Column("side", Text),
    Column("type", Text),
    Column("quantity", Numeric),
    Column("limit_price", Numeric),
    Column("prediction_id", Uuid),
    Column("strategy", Text),
    Column("maker_fee_bps", Numeric),
    Column("status", Text),
    Column("filled_quantity", Numeric),
    Column("filled_notional", Numeric),
    Column("fee", Numeric),
    Column("created_at", _time),
    Column("updated_at", _time),
    Column("version", BigInteger),
)
fills = Table(
    "fills",
    _metadata,
    Column("fill_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True)),
    Column("order_id", Uuid),
    Column("account_id", Uuid),
    Column("symbol", Text),
    Column("side", Text),
    Column("price", Numeric),
    Column("quantity", Numeric),
    Column("fee", Numeric),
    Column("liquidity", Text),
    Column("filled_at", _time),
    Column("venue_trade_id", Text),
)
outbox = Table(
    "outbox",
    _metadata,
    Column("id", BigInteger, Identity(always=True), primary_key=True),
    Column("key", Text),
    Column("event", LargeBinary),
)
strategies = Table(
    "strategies",
    _metadata,
    Column("strategy", Text, primary_key=True),
    Column("user_id", Text),
    Column("account_id", Uuid),
    Column("running", Boolean),
    Column("changed_at", _time),
)
cursors = Table("cursors", _metadata, Column("stream", Text, primary_key=True), Column("resume_token", Text))


def account_from(row: RowMapping, held: dict[str, Position]) -> Account:
    """The account of a row, with the positions ``held``."""
    return Account(**{column.name: row[column.name] for column in accounts.columns}, positions=held)


def position_from(row: RowMapping) -> Position:
    """The position of a row that may have other columns too."""
    return Position(row["symbol"], row["quantity"], row["reserved"], row["cost"], row["realized_pnl"])


def order_from(row: RowMapping) -> Order:
    """The order of a row."""
    return Order(
        order_id=row["order_id"],
        account_id=row["account_id"],
        terms=OrderTerms(
            client_order_id=row["client_order_id"],
            symbol=row["symbol"],
            side=Side(row["side"]),
            type=OrderType(row["type"]),
            quantity=row["quantity"],
            limit_price=row["limit_price"],
            prediction_id=row["prediction_id"],
            strategy=row["strategy"],
        ),
        maker_fee_bps=row["maker_fee_bps"],
        status=OrderStatus(row["status"]),
        filled_quantity=row["filled_quantity"],
        filled_notional=row["filled_notional"],
        fee=row["fee"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        version=row["version"],
    )


def order_row(order: Order) -> dict[str, Any]:
    """The row of an order."""
    return {
        "order_id": order.order_id,
        "account_id": order.account_id,
        "client_order_id": order.terms.client_order_id,
        "symbol": order.terms.symbol,
        "side": order.terms.side.value,
        "type": order.terms.type.value,
        "quantity": order.terms.quantity,
        "limit_price": order.terms.limit_price,
        "prediction_id": order.terms.prediction_id,
        "strategy": order.terms.strategy,
        "maker_fee_bps": order.maker_fee_bps,
        "status": order.status.value,
        "filled_quantity": order.filled_quantity,
        "filled_notional": order.filled_notional,
        "fee": order.fee,
        "created_at": order.created_at,
        "updated_at": order.updated_at,
        "version": order.version,
    }


def fill_from(row: RowMapping) -> Fill:
    """The fill of a row."""
    return Fill(
        fill_id=row["fill_id"],
        order_id=row["order_id"],
        symbol=row["symbol"],
        side=Side(row["side"]),
        price=row["price"],
        quantity=row["quantity"],
        fee=row["fee"],
        liquidity=Liquidity(row["liquidity"]),
        filled_at=row["filled_at"],
        venue_trade_id=row["venue_trade_id"],
    )


def fill_row(fill: Fill, order: Order) -> dict[str, Any]:
    """The row of a fill of ``order``."""
    return {
        "fill_id": fill.fill_id,
        "order_id": fill.order_id,
        "account_id": order.account_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "price": fill.price,
        "quantity": fill.quantity,
        "fee": fill.fee,
        "liquidity": fill.liquidity.value,
        "filled_at": fill.filled_at,
        "venue_trade_id": fill.venue_trade_id,
    }
