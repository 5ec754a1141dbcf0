"""The tables of the schema ``auth``."""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

metadata = MetaData(schema="auth")

users = Table(
    "users",
    metadata,
    Column("user_id", Uuid(as_uuid=False), primary_key=True),
    Column("username", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("disabled", Boolean, nullable=False),
    Column("given_tier", Text),
    Column("rights", BigInteger, nullable=False),
    Column("sessions_end_time", DateTime(timezone=True)),
)

sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("refresh_time", DateTime(timezone=True), nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    Column("end_time", DateTime(timezone=True)),
    Column("address", Text, nullable=False),
    Column("user_agent", Text, nullable=False),
    Column("scopes", ARRAY(Text)),
)

refresh_tokens = Table(
    "refresh_tokens",
    metadata,
    Column("fingerprint", LargeBinary, primary_key=True),
    Column("session_id", Uuid(as_uuid=False), nullable=False),
    Column("use_time", DateTime(timezone=True)),
    Column("request_id", Uuid(as_uuid=False)),
    Column("answer", LargeBinary),
    Column("expire_time", DateTime(timezone=True), nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("token_id", Text, primary_key=True),
    Column("revoke_time", DateTime(timezone=True), nullable=False),
)

authenticators = Table(
    "authenticators",
    metadata,
    Column("user_id", Uuid(as_uuid=False), primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("confirmed", Boolean, nullable=False),
    Column("last_step", BigInteger, nullable=False),
)

recovery_codes = Table(
    "recovery_codes",
    metadata,
    Column("user_id", Uuid(as_uuid=False), primary_key=True),
    Column("code_hash", LargeBinary, primary_key=True),
    Column("used", Boolean, nullable=False),
)

failed_logins = Table(
    "failed_logins",
    metadata,
    Column("login_name", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_time", DateTime(timezone=True), nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", Uuid(as_uuid=False), primary_key=True),
    Column("user_id", Uuid(as_uuid=False), nullable=False),
    Column("name", Text, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("previous_hash", LargeBinary),
    Column("previous_expire_time", DateTime(timezone=True)),
    Column("scopes", ARRAY(Text), nullable=False),
    Column("networks", ARRAY(Text), nullable=False),
    Column("given_tier", Text),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    Column("last_use_time", DateTime(timezone=True)),
    Column("revoke_time", DateTime(timezone=True)),
)

authorization_codes = Table(
    "authorization_codes",
    metadata,
    Column("code_hash", LargeBinary, primary_key=True),
    Column("client_id", Text, nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("code_challenge", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("user_id", Uuid(as_uuid=False), nullable=False),
    Column("expire_time", DateTime(timezone=True), nullable=False),
    Column("nonce", Text, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("session_id", Uuid(as_uuid=False)),
)

external_people = Table(
    "external_people",
    metadata,
    Column("issuer", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("user_id", Uuid(as_uuid=False), nullable=False),
    Column("issue_time", DateTime(timezone=True), nullable=False),
    Column("roles", ARRAY(Text), nullable=False),
)

signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("create_time", DateTime(timezone=True), nullable=False),
    Column("sign_time", DateTime(timezone=True), nullable=False),
)

audit_events = Table(
    "audit_events",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("event_id", Uuid(as_uuid=False), nullable=False, unique=True),
    Column("event_time", DateTime(timezone=True), nullable=False),
    Column("service", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("session_id", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("subject", JSONB, nullable=False),
    Column("trace_id", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
)


async def one_at_a_time(connection: AsyncConnection, what: str) -> None:
    """Wait for other transactions that do ``what``, and hold up later ones until this one ends."""
    await connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})
