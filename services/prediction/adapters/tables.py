"""The tables of the schema ``prediction``, as the migrations make them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Identity,
    Interval,
    MetaData,
    Numeric,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

_metadata = MetaData(schema="prediction")
_time = DateTime(timezone=True)

models = Table(
    "models",
    _metadata,
    Column("model_version", Text, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True)),
    Column("active", Boolean),
    Column("create_time", _time),
    Column("artifact_sha256", Text),
    Column("card", JSONB),
)
predictions = Table(
    "predictions",
    _metadata,
    Column("prediction_id", Uuid, primary_key=True),
    Column("model_version", Text),
    Column("symbol", Text),
    Column("candle_close_time", _time),
    Column("horizon", Interval),
    Column("probability_up", Double),
    Column("direction", Text),
    Column("close", Numeric),
)
signals = Table(
    "signals",
    _metadata,
    Column("prediction_id", Uuid, primary_key=True),
    Column("sequence", BigInteger, Identity(always=True)),
    Column("threshold", Double),
    Column("create_time", _time),
    Column("published", Boolean),
)
published_until = Table(
    "published_until", _metadata, Column("topic", Text, primary_key=True), Column("journal_offset", Text)
)
