"""Between the contract and the domain, for sessions and keys."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

from google.protobuf import duration_pb2

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import session_pb2, user_pb2
from services.auth.converters import user_to_pb
from services.auth.domain.sessions import Session
from services.auth.domain.tokens import PublicKey, SessionTokens
from services.auth.domain.users import User
from services.runtime import timestamps
from services.runtime.errors import PageTokenInvalid
from services.runtime.tokens import ALGORITHM

_BEARER = "Bearer"


def login_to_pb(tokens: SessionTokens, user: User) -> pb.LoginResponse:
    """A successful login."""
    return pb.LoginResponse(
        access_token=tokens.access_token.text,
        token_type=_BEARER,
        expires_in=duration_pb2.Duration(seconds=tokens.access_token.seconds),
        user=user_to_pb(user),
        refresh_token=tokens.refresh_token,
        refresh_expire_time=timestamps.to_pb(tokens.refresh_expire_time),
        session_id=tokens.session_id,
    )


def refresh_to_pb(tokens: SessionTokens) -> pb.RefreshSessionResponse:
    """The next tokens of a session."""
    return pb.RefreshSessionResponse(
        access_token=tokens.access_token.text,
        token_type=_BEARER,
        expires_in=duration_pb2.Duration(seconds=tokens.access_token.seconds),
        refresh_token=tokens.refresh_token,
        refresh_expire_time=timestamps.to_pb(tokens.refresh_expire_time),
        session_id=tokens.session_id,
    )


def session_to_pb(session: Session, current_session_id: str) -> session_pb2.Session:
    """The session as its user sees it."""
    return session_pb2.Session(
        session_id=session.session_id,
        create_time=timestamps.to_pb(session.create_time),
        refresh_time=timestamps.to_pb(session.refresh_time),
        expire_time=timestamps.to_pb(session.expire_time),
        address=session.origin.address,
        user_agent=session.origin.user_agent,
        current=session.session_id == current_session_id,
    )


def position_of(session: Session) -> list[str]:
    """Where ``session`` stands in the listing, for a page token."""
    return [session.create_time.isoformat(), session.session_id]


def position_from(parts: Sequence[str]) -> tuple[datetime, str]:
    """The position in a page token. Raises PageTokenInvalid."""
    try:
        create_time, session_id = parts
        return datetime.fromisoformat(create_time).astimezone(UTC), str(UUID(session_id))
    except (ValueError, OverflowError) as error:
        raise PageTokenInvalid("page_token is not from this listing") from error


def key_to_pb(key: PublicKey) -> user_pb2.JsonWebKey:
    """The key as RFC 8037 writes it."""
    return user_pb2.JsonWebKey(kty="OKP", crv="Ed25519", x=key.x, kid=key.kid, alg=ALGORITHM, use="sig")


def revocations_to_pb(revoked: Iterable[str]) -> pb.ListRevocationsResponse:
    """What is listed, rights apart from sessions and keys."""
    response = pb.ListRevocationsResponse()
    for token_id in revoked:
        (response.superseded_rights if "/" in token_id else response.session_ids).append(token_id)
    return response
