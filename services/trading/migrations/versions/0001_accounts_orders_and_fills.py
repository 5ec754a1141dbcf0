"""Accounts, positions, orders, fills, the outbox, strategies and cursors."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE trading.accounts (
        account_id    uuid PRIMARY KEY,
        user_id       text NOT NULL UNIQUE,
        currency      text NOT NULL,
        initial_cash  numeric NOT NULL CHECK (initial_cash >= 0),
        cash          numeric NOT NULL CHECK (cash >= 0),
        reserved_cash numeric NOT NULL CHECK (reserved_cash BETWEEN 0 AND cash),
        fees_paid     numeric NOT NULL CHECK (fees_paid >= 0),
        opened_at     timestamptz NOT NULL DEFAULT now()
    )
    """,
    """
    CREATE TABLE trading.positions (
        account_id   uuid NOT NULL REFERENCES trading.accounts,
        symbol       text NOT NULL,
        quantity     numeric NOT NULL CHECK (quantity >= 0),
        reserved     numeric NOT NULL CHECK (reserved BETWEEN 0 AND quantity),
        cost         numeric NOT NULL CHECK (cost >= 0),
        realized_pnl numeric NOT NULL,
        PRIMARY KEY (account_id, symbol)
    )
    """,
    """
    CREATE TABLE trading.orders (
        order_id        uuid PRIMARY KEY,
        sequence        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        account_id      uuid NOT NULL REFERENCES trading.accounts,
        client_order_id text NOT NULL,
        symbol          text NOT NULL,
        side            text NOT NULL CHECK (side IN ('buy', 'sell')),
        type            text NOT NULL CHECK (type IN ('market', 'limit')),
        quantity        numeric NOT NULL CHECK (quantity > 0),
        limit_price     numeric CHECK (limit_price > 0),
        prediction_id   uuid,
        strategy        text,
        maker_fee_bps   numeric NOT NULL CHECK (maker_fee_bps >= 0),
        status          text NOT NULL CHECK (status IN ('open', 'partially_filled', 'filled', 'cancelled')),
        filled_quantity numeric NOT NULL CHECK (filled_quantity BETWEEN 0 AND quantity),
        filled_notional numeric NOT NULL CHECK (filled_notional >= 0),
        fee             numeric NOT NULL CHECK (fee >= 0),
        created_at      timestamptz NOT NULL,
        updated_at      timestamptz NOT NULL,
        version         bigint NOT NULL CHECK (version > 0),
        UNIQUE (account_id, client_order_id),
        CHECK ((limit_price IS NOT NULL) = (type = 'limit')),
        CHECK ((status = 'filled') = (filled_quantity = quantity))
    )
    """,
    "CREATE INDEX orders_of_account ON trading.orders (account_id, sequence DESC)",
    """
    CREATE INDEX resting_orders ON trading.orders (symbol, side, limit_price)
    WHERE status IN ('open', 'partially_filled')
    """,
    """
    CREATE TABLE trading.fills (
        fill_id        uuid PRIMARY KEY,
        sequence       bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        order_id       uuid NOT NULL REFERENCES trading.orders,
        account_id     uuid NOT NULL REFERENCES trading.accounts,
        symbol         text NOT NULL,
        side           text NOT NULL CHECK (side IN ('buy', 'sell')),
        price          numeric NOT NULL CHECK (price > 0),
        quantity       numeric NOT NULL CHECK (quantity > 0),
        fee            numeric NOT NULL CHECK (fee >= 0),
        liquidity      text NOT NULL CHECK (liquidity IN ('maker', 'taker')),
        filled_at      timestamptz NOT NULL,
        venue_trade_id text,
        UNIQUE (order_id, venue_trade_id),
        CHECK ((venue_trade_id IS NOT NULL) = (liquidity = 'maker'))
    )
    """,
    "CREATE INDEX fills_of_account ON trading.fills (account_id, sequence DESC)",
    "CREATE INDEX fills_by_trade ON trading.fills (venue_trade_id) WHERE venue_trade_id IS NOT NULL",
    """
    CREATE TABLE trading.outbox (
        id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        key   text NOT NULL,
        event bytea NOT NULL
    )
    """,
    """
    CREATE TABLE trading.strategies (
        strategy   text PRIMARY KEY,
        user_id    text NOT NULL,
        account_id uuid NOT NULL REFERENCES trading.accounts,
        running    boolean NOT NULL,
        changed_at timestamptz NOT NULL
    )
    """,
    """
    CREATE TABLE trading.cursors (
        stream       text PRIMARY KEY,
        resume_token text NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("cursors", "strategies", "outbox", "fills", "orders", "positions", "accounts"):
        op.execute(f"DROP TABLE trading.{table}")
