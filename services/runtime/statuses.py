"""Errors as they go over the wire: google.rpc.Status with its details."""

import logging
import math
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from opentelemetry import trace
from redis.exceptions import ConnectionError as RedisConnectionError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from levimesh.common.v1 import error_reason_pb2
from services.runtime.errors import DependencyUnavailable, FieldViolations, MeshError

_log = logging.getLogger(__name__)

DOMAIN = "levimesh"
STATUS_DETAILS = "grpc-status-details-bin"
RETRY_AFTER = "retry-after"

_OUTAGES = ("08", "28P", "53", "57P")
"""Beginnings of PostgreSQL's error codes: connection lost, password refused (it is being changed, or it is wrong),
out of resources, starting or shutting down."""


class DeadlineExceeded(MeshError):
    """The call did not finish in its time."""

    status = "DEADLINE_EXCEEDED"
    reason = "DEADLINE_EXCEEDED"


class InternalError(MeshError):
    """Something that should not happen; the detail is in the log."""

    status = "INTERNAL"
    reason = "INTERNAL"


def as_mesh_error(error: Exception) -> MeshError:
    """``error`` if its caller may see it, else what stands for it; the original is logged then."""
    match error:
        case MeshError():
            return error
        case TimeoutError():
            return DeadlineExceeded("the call took longer than its deadline; read back whether it had an effect")
        case _ if _is_outage(error):
            _log.warning("a part that a call needs is away", extra={"error": f"{type(error).__name__}: {error}"})
            return DependencyUnavailable("a part that the service needs is away; try again in a second")
        case _:
            _log.error("unexpected error in a call", exc_info=error)
            span = trace.get_current_span().get_span_context()
            metadata = {"trace_id": trace.format_trace_id(span.trace_id)} if span.is_valid else {}
            return InternalError("internal error", **metadata)


def _is_outage(error: Exception) -> bool:
    """Whether ``error`` says that the database or Redis cannot be reached, or went away in the middle."""
    match error:
        case DBAPIError():
            return error.connection_invalidated or str(getattr(error.orig, "sqlstate", "")).startswith(_OUTAGES)
        case OSError() | PoolTimeout() | RedisConnectionError():
            return True
        case _:
            return False


def to_status(error: MeshError) -> status_pb2.Status:
    """``error`` with an ErrorInfo, and a BadRequest or RetryInfo where it has one."""
    reason = f"ERROR_REASON_{error.reason}"
    if reason not in _REASONS:
        raise ValueError(f"{type(error).__name__} has a reason that the contract does not know: {reason}")
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN, metadata=error.metadata)]
    if isinstance(error, FieldViolations):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=field, description=problem)
            for field, problem in error.violations.items()
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    return status_pb2.Status(
        code=code_pb2.Code.Value(error.status), message=str(error), details=[_packed(detail) for detail in details]
    )


async def abort(context: "grpc.aio.ServicerContext[Any, Any]", status: status_pb2.Status) -> None:
    """End the call with ``status``; raises, as grpc's own abort does."""
    details = (STATUS_DETAILS, status.SerializeToString())
    await context.abort(_CODES[status.code], status.message, trailing_metadata=(details, *_retry_after(status)))


def _retry_after(status: status_pb2.Status) -> tuple[tuple[str, str], ...]:
    """The delay of a RetryInfo as the header by which HTTP says it, in whole seconds; the gateway passes it on."""
    retry = error_details_pb2.RetryInfo()
    delays = [retry.retry_delay.ToTimedelta() for detail in status.details if detail.Unpack(retry)]
    return tuple((RETRY_AFTER, str(math.ceil(delay.total_seconds()))) for delay in delays)


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


_REASONS = frozenset(error_reason_pb2.ErrorReason.keys())
_CODES = {code.value[0]: code for code in grpc.StatusCode}
