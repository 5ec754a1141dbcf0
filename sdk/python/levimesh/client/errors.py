"""Errors of calls, with what the mesh says about them."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

_STATUS_DETAILS = "grpc-status-details-bin"
_REFUSED_TOKEN = {"ERROR_REASON_TOKEN_EXPIRED", "ERROR_REASON_TOKEN_INVALID", "ERROR_REASON_SESSION_ENDED"}


class ProfileError(Exception):
    """It is not known where the mesh is, or who to be there; the message says what to do."""


@dataclass(frozen=True)
class ErrorDetails:
    """What a failed call tells besides its status and message."""

    reason: str = ""
    """The name of a levimesh.common.v1.ErrorReason; empty when the error did not come from the mesh."""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: dict[str, str] = field(default_factory=dict)
    """Field by field, what was wrong with the request; "" is the request as a whole."""
    retry_after: float | None = None
    """Seconds after which a retry makes sense."""


def details(error: grpc.aio.AioRpcError) -> ErrorDetails:
    """The details of ``error``."""
    info, request, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    retry_after = None
    for packed in _packed_details(error):
        packed.Unpack(info)
        packed.Unpack(request)
        if packed.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    violations = {violation.field: violation.description for violation in request.field_violations}
    return ErrorDetails(info.reason, dict(info.metadata), violations, retry_after)


def refuses_token(error: grpc.aio.AioRpcError) -> bool:
    """Whether ``error`` says that the access token is not good any more, so that another one may help."""
    return error.code() is grpc.StatusCode.UNAUTHENTICATED and details(error).reason in _REFUSED_TOKEN


def explain(error: grpc.aio.AioRpcError) -> str:
    """``error`` in one line for a person, with its reason, or its status when it has none, in brackets."""
    said, told = error.details() or "no details", details(error)
    if reason := told.reason.removeprefix("ERROR_REASON_"):
        if told.retry_after is not None and "try again" not in said:
            said += f"; try again in {math.ceil(told.retry_after)} s"
        return f"{said} [{reason}]"
    if error.code() is grpc.StatusCode.UNAVAILABLE:
        return f"{_unreachable(said)} [UNAVAILABLE]"
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "the mesh did not answer in time; whether the call had an effect is not known [DEADLINE_EXCEEDED]"
    return f"{said} [{error.code().name}]"


def _unreachable(said: str) -> str:
    """What gRPC's own words for a connection that fails mean."""
    if "CERTIFICATE_VERIFY_FAILED" in said:
        return "the certificate of the gateway was not issued by the trusted authority; is `ca` the right one?"
    if "not in peer certificate" in said:
        return "the certificate of the gateway is for another host name; is `gateway` the right one?"
    if "WRONG_VERSION_NUMBER" in said:
        return "there is no TLS at this port of the gateway; is `gateway` its TLS listener?"
    if refused := re.search(r"ipv[46]:(\S+?): .*[Cc]onnection refused", said):
        return f"nothing listens at {refused[1].replace('%5B', '[').replace('%5D', ']')}; is the mesh running?"
    return f"the gateway cannot be reached: {said}"


def _packed_details(error: grpc.aio.AioRpcError) -> Iterator[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_DETAILS and isinstance(value, bytes):
            yield from status_pb2.Status.FromString(value).details
