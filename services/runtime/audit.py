"""What was done, and tried, by whom: the record of a call whose policy says ``audit``, and of events without a call.

A call is recorded when its outcome is known and before its answer is sent. What is recorded is stored by an AuditLog;
what happens while that cannot store anything is decided here, by what is still possible:

- A call that comes in then is refused with UNAVAILABLE before it has any effect.
- A refusal (of identity, policy, validation or the method itself) becomes UNAVAILABLE, so that nobody can try
  passwords, or doors, without leaving a trace.
- The answer of a call that has had its effect, or may have had one, is given as it is: to hide it would undo nothing.

Whatever could not be stored at once stays in memory and is stored later, and the log of the process says so.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from opentelemetry import trace

from levimesh.auth.v1 import audit_pb2
from services.runtime import timestamps
from services.runtime.clock import utc_now
from services.runtime.errors import Unavailable
from services.runtime.identity import Caller
from services.runtime.policy import Policy
from services.runtime.statuses import as_mesh_error

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_SUBJECTS = 16
_LONGEST = 128
_LONGEST_NAME = 64
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-")
_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
_EFFECT_UNKNOWN = ("DEADLINE_EXCEEDED", "INTERNAL")
"""Statuses of calls that may have done something all the same."""


class Outcome(IntEnum):
    """What became of it; the values are those of the contract."""

    DONE = audit_pb2.AUDIT_OUTCOME_DONE
    DENIED = audit_pb2.AUDIT_OUTCOME_DENIED
    FAILED = audit_pb2.AUDIT_OUTCOME_FAILED


class AuditUnavailable(Unavailable):
    """Nothing can be recorded now, so nothing is done."""

    reason = "DEPENDENCY_UNAVAILABLE"
    retry_after = 1.0

    def __init__(self) -> None:
        super().__init__("the audit log cannot be written; try again in a second", part="audit")


class AuditLog(Protocol):
    """Where a process records what was done. It loses nothing: what it cannot store now it keeps, and tries again."""

    def add(self, event: audit_pb2.AuditEvent) -> "asyncio.Future[bool]":
        """Take in ``event`` at once. The result tells whether it is stored already; if not, it will be."""

    async def add_within(self, connection: "AsyncConnection", event: audit_pb2.AuditEvent) -> None:
        """Store ``event`` if, and only if, the transaction of ``connection`` commits."""

    async def ready(self) -> bool:
        """Whether events can be stored, as far as is known; tries it when the last one could not."""

    async def record(
        self,
        action: str,
        *,
        actor: str,
        outcome: Outcome = Outcome.DONE,
        status: str = "OK",
        session_id: str = "",
        address: str = "",
        subject: Mapping[str, str] | None = None,
        connection: "AsyncConnection | None" = None,
    ) -> None:
        """Record something that is not a call, or more of one than its method tells: ``refresh_token_reused``.

        Texts are cut where the contract limits them. No argument may be a secret. With ``connection`` it is recorded in
        the transaction there, and stands or falls with it.
        """
        event = new_event(
            action,
            actor=actor,
            outcome=outcome,
            status=status,
            session_id=session_id,
            address=address,
            subject=subject or {},
            trace_id=_current_trace(),
        )
        if connection is not None:
            await self.add_within(connection, event)
        else:
            await self.add(event)


def new_event(action: str, *, outcome: Outcome, subject: Mapping[str, str], **said: str) -> audit_pb2.AuditEvent:
    """An event of now, its texts without control characters and no longer than the contract takes them."""
    event = audit_pb2.AuditEvent(
        event_id=str(uuid4()), event_time=timestamps.to_pb(utc_now()), action=action, outcome=outcome.value
    )
    for name, text in said.items():
        setattr(event, name, _clean(text, 64 if name in ("session_id", "address", "trace_id") else _LONGEST))
    for name, text in list(subject.items())[:_SUBJECTS]:
        event.subject[_clean(name, _LONGEST_NAME)] = _clean(text, _LONGEST)
    return event


@dataclass
class _Told:
    """What a method has told about the call that it serves."""

    actor: str = ""
    session_id: str = ""
    subject: dict[str, str] = field(default_factory=dict)
    refusal: str = ""


_told: ContextVar[_Told | None] = ContextVar("told", default=None)


def tell_audit(*, actor: str = "", session_id: str = "", **subject: str) -> None:
    """Add to the record of the call being served what its request does not show, such as whose refresh token it was.

    Nothing of it may be a secret. Without effect in methods that are not audited.
    """
    told = _told.get()
    if told is not None:
        told.actor = actor or told.actor
        told.session_id = session_id or told.session_id
        told.subject.update(subject)


def tell_audit_refused(status: str) -> None:
    """Record the call being served as denied, with this status, although it answers: with a page, for example."""
    told = _told.get()
    if told is not None:
        told.refusal = status


Serve = Callable[[Any, Any, dict[str, Any]], Awaitable[Any]]
"""Serves a request, given its context and headers."""


def audited(policy: Policy, log: AuditLog, caller_of: Callable[[Any, dict[str, Any]], Caller], serve: Serve) -> Serve:
    """``serve``, and each of its calls is recorded.

    ``caller_of`` (context, headers) tells who calls as far as it is known, also where ``serve`` refuses the call.
    """

    async def call(request: Any, context: Any, headers: dict[str, Any]) -> Any:
        told = _Told()
        _told.set(told)

        def add(outcome: Outcome, status: str, response: Message | None = None) -> "asyncio.Future[bool]":
            caller = caller_of(context, headers)
            return log.add(_call_event(policy, caller, request, headers, told, outcome, status, response))

        try:
            await _require(log)
            response = await serve(request, context, headers)
        except asyncio.CancelledError:
            # The caller is gone; what was done may have had its effect.
            add(Outcome.FAILED, "CANCELLED")
            raise
        except Exception as error:
            failure = as_mesh_error(error)
            outcome = Outcome.DENIED if failure.status in _REFUSED else Outcome.FAILED
            stored = await add(outcome, f"{failure.status} ERROR_REASON_{failure.reason}")
            if not stored and failure.status not in _EFFECT_UNKNOWN:
                raise AuditUnavailable from error
            raise failure from (None if failure is error else error)
        if told.refusal:
            if not await add(Outcome.DENIED, told.refusal):
                raise AuditUnavailable
        else:
            await add(Outcome.DONE, "OK", response)
        return response

    return call


async def _require(log: AuditLog) -> None:
    if not await log.ready():
        raise AuditUnavailable


def _call_event(
    policy: Policy,
    caller: Caller,
    request: Message,
    headers: dict[str, Any],
    told: _Told,
    outcome: Outcome,
    status: str,
    response: Message | None,
) -> audit_pb2.AuditEvent:
    subject = {name: getattr(request, name) for name in _subject_fields(request.DESCRIPTOR) if getattr(request, name)}
    # Whoever logs in is not known yet, but says a name.
    tried = subject.get("username", "") if policy.public else ""
    user = caller.user
    return new_event(
        policy.method,
        outcome=outcome,
        subject={**subject, **told.subject},
        actor=user.user_id if user else told.actor or tried or caller.workload,
        session_id=told.session_id or (user.session_id if user else _session_in(response)),
        address=caller.address,
        status=status,
        trace_id=_current_trace() or _trace_of(headers.get("traceparent", "")),
    )


@lru_cache
def _subject_fields(request: Descriptor) -> list[str]:
    """The fields that say what a request is about: its ids and names, and never what is redacted."""
    return [
        each.name
        for each in request.fields
        if each.type == FieldDescriptor.TYPE_STRING
        and not each.is_repeated
        and not each.GetOptions().debug_redact
        and (each.name.endswith("_id") or each.name in ("username", "symbol", "strategy"))
    ]


def _session_in(response: Message | None) -> str:
    """The session that the response has begun or continued, if it is one of that kind."""
    if response is None or "session_id" not in response.DESCRIPTOR.fields_by_name:
        return ""
    return str(getattr(response, "session_id"))  # noqa: B009 - no attribute of every message


def _current_trace() -> str:
    span = trace.get_current_span().get_span_context()
    return trace.format_trace_id(span.trace_id) if span.is_valid else ""


def _trace_of(traceparent: str) -> str:
    found = _TRACE.match(traceparent)
    return found[1] if found else ""


def _clean(text: str, longest: int) -> str:
    """``text`` as every log, terminal and database takes it, and no longer than ``longest``."""
    text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return text if len(text) <= longest else text[: longest - 1] + "…"
