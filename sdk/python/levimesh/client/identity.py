"""Who a call is made for: interceptors that give each call an access token, and the contract's deadline."""

import time
from collections.abc import Callable
from typing import Any

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.client.deadlines import Deadlines, path_of
from levimesh.client.errors import refuses_token
from levimesh.client.tokens import AccessToken, TokenSource
from levimesh.policy.v1 import policy_pb2


def public_methods(*services: ServiceDescriptor) -> frozenset[str]:
    """The methods of ``services`` that need no token, as ``/package.Service/Method``."""
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if method.GetOptions().Extensions[policy_pb2.method].public
    )


class UnaryIdentity(grpc.aio.UnaryUnaryClientInterceptor):
    """Gives each call a token and a deadline, and calls once more with a new token when that one is refused.

    The deadline counts from the first time that the call is sent.
    """

    def __init__(self, tokens: TokenSource, deadlines: Deadlines, public: frozenset[str]) -> None:
        self._tokens = tokens
        self._deadlines = deadlines
        self._public = public

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        limit = self._deadlines.limit(client_call_details)
        if path_of(client_call_details) in self._public:
            return await continuation(_with(client_call_details, limit), request)
        token = await self._tokens.get()
        sent = time.monotonic()
        call = await continuation(_with(client_call_details, limit, token), request)
        try:
            await call
        except grpc.aio.AioRpcError as error:
            if not refuses_token(error):
                return call
        else:
            return call
        self._tokens.reject(token)
        token = await self._tokens.get()
        left = None if limit is None else max(0.0, limit - (time.monotonic() - sent))
        return await continuation(_with(client_call_details, left, token), request)


class StreamIdentity(grpc.aio.UnaryStreamClientInterceptor):
    """Gives each stream a token when it is opened."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        token = await self._tokens.get()
        return await continuation(_with(client_call_details, client_call_details.timeout, token), request)


class BidirectionalIdentity(grpc.aio.StreamStreamClientInterceptor):
    """Gives each stream of requests and responses a token when it is opened."""

    def __init__(self, tokens: TokenSource) -> None:
        self._tokens = tokens

    async def intercept_stream_stream(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request_iterator: Any
    ) -> Any:
        token = await self._tokens.get()
        return await continuation(_with(client_call_details, client_call_details.timeout, token), request_iterator)


def _with(
    call: grpc.aio.ClientCallDetails, timeout: float | None, token: AccessToken | None = None
) -> grpc.aio.ClientCallDetails:
    metadata = grpc.aio.Metadata(*(call.metadata or ()))
    if token is not None:
        metadata.add("authorization", f"Bearer {token.value}")
    return grpc.aio.ClientCallDetails(call.method, timeout, metadata, call.credentials, call.wait_for_ready)
