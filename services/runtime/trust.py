"""Keeps what access tokens are checked with current: the keys that sign them, and what is revoked."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping

from google.protobuf.json_format import MessageToDict

from levimesh.auth.v1 import auth_service_pb2 as pb
from levimesh.auth.v1 import auth_service_pb2_grpc as pb_grpc
from services.runtime.tokens import TokenVerifier

_log = logging.getLogger(__name__)

KEYS_EVERY = 30.0
"""Seconds for which a service does not notice new keys."""
_KEYS_RETRY = 0.5
_REVOCATIONS_EVERY = 0.5


class PublishedByAuth:
    """Asks the auth service, as everybody but itself does."""

    def __init__(self, auth: "pb_grpc.AuthServiceAsyncStub") -> None:
        self._auth = auth

    async def keys(self) -> list[dict[str, str]]:
        """The keys (JSON Web Keys) that tokens may be signed with."""
        response = await self._auth.GetJwks(pb.GetJwksRequest())
        return [MessageToDict(key) for key in response.keys]

    async def revoked(self) -> list[str]:
        """Everything whose tokens are to be refused."""
        response = await self._auth.ListRevocations(pb.ListRevocationsRequest())
        return [*response.session_ids, *response.superseded_rights]


async def refresh_keys(
    verifier: TokenVerifier, fetch: Callable[[], Awaitable[Iterable[Mapping[str, str]]]], *, every: float = KEYS_EVERY
) -> None:
    """Keep ``verifier`` supplied with the published keys, for ever."""

    async def refresh() -> None:
        verifier.set_keys(await fetch())

    await _again_and_again("the signing keys", refresh, every, _KEYS_RETRY)


async def refresh_revocations(
    verifier: TokenVerifier, fetch: Callable[[], Awaitable[Iterable[str]]], *, every: float = _REVOCATIONS_EVERY
) -> None:
    """Keep ``verifier`` supplied with what is revoked, for ever."""

    async def refresh() -> None:
        verifier.set_revoked(await fetch())

    await _again_and_again("what is revoked", refresh, every, every)


async def _again_and_again(what: str, refresh: Callable[[], Awaitable[None]], every: float, retry: float) -> None:
    while True:
        try:
            await refresh()
        except Exception as error:  # noqa: BLE001 - whatever it is, what is at hand stays good and the next try may succeed
            _log.warning("cannot fetch %s", what, extra={"error": str(error)})
            await asyncio.sleep(retry)
        else:
            await asyncio.sleep(every)
