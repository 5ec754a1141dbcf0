"""What the gateway asks while a call waits: who has this key, and may there be one more call.

The contracts are Envoy's; see proto/levimesh/auth/v1/edge.proto.
"""

from collections.abc import Mapping
from typing import Any

import grpc

from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2 as auth_pb
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2_grpc as auth_pb_grpc
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2 as rate_pb
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2_grpc as rate_pb_grpc
from services.auth import edge_converters as convert
from services.auth.domain.sessions import Origin
from services.auth.domain.tokens import AccessToken, Grant
from services.auth.use_cases.api_keys import ExchangeApiKey
from services.auth.use_cases.external import ExchangeExternalToken
from services.auth.use_cases.limits import CountCall
from services.runtime.errors import MeshError
from services.runtime.identity import ADDRESS_HEADER, LONGEST_USER_AGENT, TokenMissing

Context = grpc.aio.ServicerContext[Any, Any]


class AuthorizationServicer(auth_pb_grpc.AuthorizationServicer):
    """Exchanges what a call has brought for an access token of ours.

    Asked only for calls that need a token and have none of ours. A refusal is an answer too, with all that the client
    is to see; only what cannot be decided now is an error.
    """

    def __init__(self, exchange_api_key: ExchangeApiKey, exchange_external: ExchangeExternalToken) -> None:
        self._exchange_api_key = exchange_api_key
        self._exchange_external = exchange_external

    async def Check(self, request: auth_pb.CheckRequest, context: Context) -> auth_pb.CheckResponse:
        headers = request.attributes.request.http.headers
        try:
            grant, token = await self._exchange(headers, headers.get(ADDRESS_HEADER, ""))
        except MeshError as error:
            return convert.denied(error)
        return convert.admitted(grant, token)

    async def _exchange(self, headers: Mapping[str, str], address: str) -> tuple[Grant, AccessToken]:
        if secret := headers.get(convert.API_KEY_HEADER):
            return await self._exchange_api_key(secret, address)
        if token := convert.bearer_of(headers):
            return await self._exchange_external(
                token, Origin(address, headers.get("user-agent", "")[:LONGEST_USER_AGENT])
            )
        raise TokenMissing("log in and send `authorization: Bearer <access token>`, or send an API key as `x-api-key`")


class RateLimitServicer(rate_pb_grpc.RateLimitServiceServicer):
    """Counts calls of methods whose limit holds for all gateways together."""

    def __init__(self, count_call: CountCall) -> None:
        self._count_call = count_call

    async def ShouldRateLimit(self, request: rate_pb.RateLimitRequest, context: Context) -> rate_pb.RateLimitResponse:
        convert.check_domain(request.domain)
        calls = [convert.call_from_descriptor(descriptor) for descriptor in request.descriptors]
        return convert.counts_to_pb([await self._count_call(*call) for call in calls])
