"""Waiting where the mesh says that there are more calls in a moment."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import grpc

from levimesh.client.deadlines import path_of
from levimesh.client.errors import details

_SHORTEST_WAIT = 0.05


class Patience(grpc.aio.UnaryUnaryClientInterceptor):
    """Repeats a call that came too soon, when the caller's limit allows it again and before its deadline.

    Only calls of the methods in ``repeatable``. A call that would have to wait beyond its deadline fails at once.
    """

    def __init__(self, repeatable: frozenset[str]) -> None:
        self._repeatable = repeatable

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        limit = client_call_details.timeout
        if limit is None or path_of(client_call_details) not in self._repeatable:
            return await continuation(client_call_details, request)
        deadline = time.monotonic() + limit
        while True:
            call = await continuation(_until(client_call_details, deadline), request)
            wait = await _wait_asked_for(call)
            if wait is None or time.monotonic() + wait >= deadline:
                return call
            await asyncio.sleep(wait)


async def _wait_asked_for(call: Any) -> float | None:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        told = details(error)
        if told.reason == "ERROR_REASON_RATE_LIMITED" and told.retry_after is not None:
            return max(_SHORTEST_WAIT, told.retry_after)
    return None


def _until(call: grpc.aio.ClientCallDetails, deadline: float) -> grpc.aio.ClientCallDetails:
    left = max(0.0, deadline - time.monotonic())
    return grpc.aio.ClientCallDetails(call.method, left, call.metadata, call.credentials, call.wait_for_ready)
