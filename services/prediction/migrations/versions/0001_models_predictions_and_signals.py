"""Models, predictions, signals, and how far the signals have been published."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_STATEMENTS = (
    """
    CREATE TABLE prediction.models (
        model_version   text PRIMARY KEY,
        sequence        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        active          boolean NOT NULL,
        create_time     timestamptz NOT NULL,
        artifact_sha256 text NOT NULL,
        card            jsonb NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX one_active_model ON prediction.models (active) WHERE active",
    """
    CREATE TABLE prediction.predictions (
        prediction_id     uuid PRIMARY KEY,
        model_version     text NOT NULL REFERENCES prediction.models,
        symbol            text NOT NULL,
        candle_close_time timestamptz NOT NULL,
        horizon           interval NOT NULL,
        probability_up    double precision NOT NULL CHECK (probability_up BETWEEN 0 AND 1),
        direction         text NOT NULL CHECK (direction IN ('up', 'down', 'neutral')),
        close             numeric NOT NULL CHECK (close > 0),
        UNIQUE (model_version, symbol, candle_close_time)
    )
    """,
    """
    CREATE TABLE prediction.signals (
        prediction_id uuid PRIMARY KEY REFERENCES prediction.predictions,
        sequence      bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
        threshold     double precision NOT NULL,
        create_time   timestamptz NOT NULL,
        published     boolean NOT NULL DEFAULT false
    )
    """,
    "CREATE INDEX unpublished_signals ON prediction.signals (sequence) WHERE NOT published",
    """
    CREATE TABLE prediction.published_until (
        topic          text PRIMARY KEY,
        journal_offset text NOT NULL
    )
    """,
)


def upgrade() -> None:
    for statement in _STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    for table in ("published_until", "signals", "predictions", "models"):
        op.execute(f"DROP TABLE prediction.{table}")
