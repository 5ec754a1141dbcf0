"""What happens to every call, in this order: telemetry, errors, audit, deadline, identity and policy, validation.

The chain of each method is put together once, when the server starts; a call pays only for what its stages do.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import Message
from protovalidate import Validator, Violation

from services.runtime.audit import AuditLog, Serve, audited
from services.runtime.deadlines import expire_at
from services.runtime.errors import FieldViolations, MeshError, Overloaded
from services.runtime.identity import (
    ADDRESS_HEADER,
    GATEWAY,
    Caller,
    authorize,
    current_caller,
    set_caller,
    workload_of,
)
from services.runtime.logging import call_fields
from services.runtime.policy import Policy, PolicyError
from services.runtime.statuses import abort, as_mesh_error, to_status
from services.runtime.stream_guard import STALLED_SECONDS, StreamGuard
from services.runtime.telemetry import Metrics, Tracing
from services.runtime.tokens import TokenVerifier

Context = grpc.aio.ServicerContext[Any, Any]
UnaryHandler = Callable[[Any, Context], Awaitable[Any]]
StreamHandler = Callable[[Any, Context], AsyncIterator[Any]]

_NO_SPAN: AbstractContextManager[None] = nullcontext()
_NO_TIMER: AbstractAsyncContextManager[None] = nullcontext()
_ROUNDED_UP = 1.05
"""gRPC rounds a deadline up to three digits on the wire, so a caller's may arrive a little later than it was meant."""


@dataclass
class Stages:
    """What the chains of one server share."""

    verifier: TokenVerifier
    metrics: Metrics
    tracing: Tracing
    max_concurrent_calls: int
    """Of unary calls; and as many streams, so that neither keeps the other out."""
    audit: AuditLog | None = None
    """Where audited calls are recorded; a server that has such methods does not start without one."""
    _validator: Validator = field(default_factory=Validator)
    stalled_seconds: float = STALLED_SECONDS
    """How long a reader may take nothing of a stream while there is more for it."""
    _calls: int = 0
    _guard: StreamGuard = field(init=False)

    def __post_init__(self) -> None:
        self._guard = StreamGuard(self.max_concurrent_calls, stalled_seconds=self.stalled_seconds)

    def unary(self, policy: Policy, handler: UnaryHandler) -> UnaryHandler:
        """``handler`` behind every stage."""
        observe = self.metrics.seconds.labels(policy.method).observe
        ended_well = self.metrics.handled.labels(policy.method, "OK").inc
        serve = self._serve(policy, handler)
        if policy.audit:
            serve = audited(policy, self._audit_log(policy), partial(self._apparent_caller, policy), serve)

        async def call(request: Message, context: Context) -> Any:
            started = time.perf_counter()
            self._calls += 1
            headers = _headers(context)
            try:
                with self._span(policy, headers):
                    try:
                        response = await serve(request, context, headers)
                    except Exception as error:  # noqa: BLE001 - every error becomes a status here, and nowhere else
                        await self._fail(policy, context, as_mesh_error(error))
                ended_well()
                return response
            finally:
                self._calls -= 1
                observe(time.perf_counter() - started)

        return call

    def stream(self, policy: Policy, handler: StreamHandler, response_type: type[Message]) -> StreamHandler:
        """``handler``, which answers with a stream, behind every stage.

        An error that comes after the first message is told in band too (``end``), because HTTP/1.1 shows no other.
        """
        running = self.metrics.running.labels(policy.method)

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            headers = _headers(context)
            sent = False
            with self._span(policy, headers), running.track_inprogress():
                try:
                    expire_at(None)
                    caller = self._identify(policy, context, headers)
                    asked = self._each_valid(request) if policy.client_streaming else self._valid(request)
                    responses = handler(asked, context)
                    async for response in self._guard.guarded(
                        policy, caller, context, responses, partial(self._fail, policy, context)
                    ):
                        sent = True
                        yield response
                except Exception as error:  # noqa: BLE001 - every error becomes a status here, and nowhere else
                    failure = as_mesh_error(error)
                    if sent:
                        yield response_type(end=to_status(failure))
                    await self._fail(policy, context, failure)
            self.metrics.handled.labels(policy.method, "OK").inc()

        return call

    def drain_streams(self) -> None:
        """End every stream with UNAVAILABLE (SHUTTING_DOWN), so that its reader resumes elsewhere."""
        self._guard.drain()

    def _serve(self, policy: Policy, handler: UnaryHandler) -> Serve:
        async def serve(request: Message, context: Context, headers: dict[str, Any]) -> Any:
            async with _deadline(policy, context):
                self._identify(policy, context, headers)
                return await handler(self._valid(request), context)

        return serve

    def _audit_log(self, policy: Policy) -> AuditLog:
        if self.audit is None:
            raise PolicyError(f"{policy.method} is audited, and the server has no audit log")
        return self.audit

    def _span(self, policy: Policy, headers: dict[str, Any]) -> AbstractContextManager[Any]:
        traceparent = headers.get("traceparent")
        return self.tracing.span(policy.method, traceparent) if self.tracing.sampled(traceparent) else _NO_SPAN

    def _identify(self, policy: Policy, context: Context, headers: dict[str, Any]) -> Caller:
        """Identity and policy."""
        if self._calls > self.max_concurrent_calls:
            raise Overloaded("too many calls at once; try again in a second")
        workload = workload_of(context.peer_identities() or ())
        caller = authorize(policy, workload, _bearer(headers), self.verifier, headers)
        set_caller(caller)
        call_fields.set({"method": policy.method, "user": caller.user.username if caller.user else caller.workload})
        return caller

    def _valid(self, request: Message) -> Message:
        """``request``, if it keeps the rules of the contract."""
        if violations := self._validator.collect_violations(request):
            raise FieldViolations({_path(violation): _problem(violation) for violation in violations})
        return request

    async def _each_valid(self, requests: AsyncIterator[Message]) -> AsyncIterator[Message]:
        async for request in requests:
            yield self._valid(request)

    def _apparent_caller(self, policy: Policy, context: Context, headers: dict[str, Any]) -> Caller:
        """Who calls, as far as it can be told of a call that need not have been let in."""
        with suppress(LookupError):
            return current_caller()
        workload, token, user = workload_of(context.peer_identities() or ()), _bearer(headers), None
        with suppress(MeshError):
            user = self.verifier.verify(token) if token and workload in policy.callers and not policy.public else None
        return Caller(workload, user, str(headers.get(ADDRESS_HEADER, "")) if workload == GATEWAY else "")

    async def _fail(self, policy: Policy, context: Context, error: MeshError) -> None:
        self.metrics.handled.labels(policy.method, error.status).inc()
        await abort(context, to_status(error))


def _headers(context: Context) -> dict[str, Any]:
    return dict(context.invocation_metadata() or ())


def _bearer(headers: dict[str, Any]) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


def _deadline(policy: Policy, context: Context) -> AbstractAsyncContextManager[Any]:
    """Ends the call in time: at the policy's deadline, or at the caller's if that is earlier.

    gRPC itself cancels a call at its caller's deadline, so a timer is needed only for an earlier one of the policy.
    """
    asked, limit = context.time_remaining(), policy.deadline
    if limit is None or (asked is not None and asked <= limit * _ROUNDED_UP):
        expire_at(None if asked is None else asyncio.get_running_loop().time() + asked)
        return _NO_TIMER
    timer = asyncio.timeout(limit)
    expire_at(timer.when())
    return timer


def _path(violation: Violation) -> str:
    """The field as a request spells it, for example ``roles[0]``; "" when the rule is about the whole."""
    path = violation.proto.field
    if path is None:
        return ""
    parts = []
    for element in path.elements:
        index = element.subscript.value if element.subscript and element.subscript.field == "index" else None
        parts.append(element.field_name if index is None else f"{element.field_name}[{index}]")
    return ".".join(parts)


def _problem(violation: Violation) -> str:
    return violation.proto.message or violation.proto.rule_id
