"""Kinds, states, limits and versions of symbols."""

from alembic import op

revision = "0003"
down_revision = "0002"

_STATEMENTS = (
    """
    ALTER TABLE marketdata.symbols
        ADD asset_type   text NOT NULL DEFAULT 'crypto' CHECK (asset_type IN ('crypto', 'fx', 'equity')),
        ADD state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'inactive')),
        ADD min_quantity numeric CHECK (min_quantity >= 0),
        ADD max_quantity numeric CHECK (max_quantity > 0),
        ADD book_depth   integer NOT NULL DEFAULT 0 CHECK (book_depth BETWEEN 0 AND 1000),
        ADD version      bigint NOT NULL DEFAULT 1,
        ADD create_time  timestamptz NOT NULL DEFAULT now(),
        ADD update_time  timestamptz NOT NULL DEFAULT now(),
        ADD reported     jsonb
    """,
)


def upgrade() -> None:
    """Add the columns."""
    for statement in _STATEMENTS:
        op.execute(statement)
