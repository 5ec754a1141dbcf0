"""What the gateway itself answers, in the shape of every other error: a google.rpc.Status with an ErrorInfo.

Over REST the status is JSON with the HTTP status that fits; over gRPC it is in the trailers.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from gateway.headers import set_header
from gateway.limits import RETRY_STEPS

Config = dict[str, Any]

_LOG_IN = "log in (POST /v1/auth/login) and send `authorization: Bearer <access token>`"


@dataclass(frozen=True)
class EdgeError:
    """An answer of the gateway itself."""

    when: str
    """A CEL expression over Envoy's attributes of the answer; the first error of the list that holds is told."""
    http_status: int
    code: str
    """Name of a google.rpc.Code."""
    reason: str
    """Name of a levimesh.common.v1.ErrorReason without its prefix."""
    message: str
    """May hold Envoy's own words, ``%LOCAL_REPLY_BODY%``."""
    retry_after: int | None = None
    """Seconds after which it is worth another try."""

    def status(self) -> status_pb2.Status:
        """The error as it goes over the wire."""
        reason = f"ERROR_REASON_{self.reason}"
        details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain="levimesh")]
        if self.retry_after is not None:
            details.append(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=self.retry_after)))
        packed = [any_pb2.Any() for _ in details]
        for box, detail in zip(packed, details, strict=True):
            box.Pack(detail)
        return status_pb2.Status(code=code_pb2.Code.Value(self.code), message=self.message, details=packed)


def _denied(what: str) -> str:
    return f"response.code_details.startsWith('jwt_authn_access_denied{{{what}')"


def _no_calls_left(seconds: int) -> EdgeError:
    """A caller who has used up a limit: Envoy's own bucket says when there is more, or the RateLimit headers do."""
    own = f"response.code_details == 'local_rate_limited' && response.headers['retry-after'] == '{seconds}'"
    for_all = "response.code_details == 'request_rate_limited'"
    if seconds < RETRY_STEPS[-1]:
        for_all += f" && int(response.headers['x-ratelimit-reset']) <= {seconds}"
    return EdgeError(
        f"({own}) || ({for_all})",
        429,
        "RESOURCE_EXHAUSTED",
        "RATE_LIMITED",
        "all calls that the contract allows are used up for now; the RateLimit headers say how many there are",
        retry_after=seconds,
    )


EDGE_ERRORS = (
    EdgeError(_denied("Jwt_is_missing"), 401, "UNAUTHENTICATED", "TOKEN_MISSING", _LOG_IN),
    EdgeError(
        _denied("Jwt_is_expired"), 401, "UNAUTHENTICATED", "TOKEN_EXPIRED", f"the access token has expired; {_LOG_IN}"
    ),
    EdgeError(
        _denied("Jwks_remote_fetch_is_failed"),
        503,
        "UNAVAILABLE",
        "DEPENDENCY_UNAVAILABLE",
        "access tokens cannot be checked yet, because the auth service does not answer; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        _denied(""), 401, "UNAUTHENTICATED", "TOKEN_INVALID", f"the access token is not one of this mesh; {_LOG_IN}"
    ),
    EdgeError(
        "response.code_details == 'ext_authz_error'",
        503,
        "UNAVAILABLE",
        "DEPENDENCY_UNAVAILABLE",
        "API keys cannot be checked now, because the auth service does not answer; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        "response.code_details.startsWith('rbac_access_denied')",
        403,
        "PERMISSION_DENIED",
        "ADDRESS_NOT_ALLOWED",
        "the methods of admins may not be called from this address; GATEWAY_ADMIN_NETWORKS says from where",
    ),
    *(_no_calls_left(seconds) for seconds in RETRY_STEPS),
    EdgeError(
        "response.code_details == 'rate_limiter_error'",
        503,
        "UNAVAILABLE",
        "DEPENDENCY_UNAVAILABLE",
        "calls of this method are counted, and cannot be now; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        "response.code_details == 'overload'",
        429,
        "RESOURCE_EXHAUSTED",
        "OVERLOADED",
        "the gateway has no memory left for more calls; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        "response.code == 404",
        404,
        "UNIMPLEMENTED",
        "METHOD_NOT_FOUND",
        "nothing is served at this path with this HTTP method; check both against the contract",
    ),
    EdgeError(
        "response.code == 413",
        413,
        "RESOURCE_EXHAUSTED",
        "REQUEST_TOO_LARGE",
        "the body is larger than the gateway takes; send less at once",
    ),
    EdgeError(
        "response.code == 431",
        431,
        "RESOURCE_EXHAUSTED",
        "REQUEST_TOO_LARGE",
        "the headers are larger than the gateway takes; send fewer or shorter ones",
    ),
    EdgeError(
        "response.code == 408 || response.code == 504",
        504,
        "DEADLINE_EXCEEDED",
        "DEADLINE_EXCEEDED",
        "the call took longer than its deadline; read back whether it had an effect",
    ),
    EdgeError(
        "response.code == 503 || response.code == 502",
        503,
        "UNAVAILABLE",
        "DEPENDENCY_UNAVAILABLE",
        "the service behind this method does not answer; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        "response.code == 429",
        429,
        "RESOURCE_EXHAUSTED",
        "OVERLOADED",
        "too many calls at once; try again in a second",
        retry_after=1,
    ),
    EdgeError(
        "response.code_details.contains('grpc_json_transcode_failure')",
        400,
        "INVALID_ARGUMENT",
        "REQUEST_MALFORMED",
        "the request does not fit the method: %LOCAL_REPLY_BODY%",
    ),
    EdgeError(
        "response.code >= 400 && response.code < 500",
        400,
        "INVALID_ARGUMENT",
        "REQUEST_MALFORMED",
        "the request is not sound HTTP: check its path and headers (no underscores in names, no escaped slashes)",
    ),
    EdgeError("response.code >= 500", 500, "INTERNAL", "INTERNAL", "internal error"),
)

_DENIALS = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}

# A transcoded request looks like gRPC from then on, and is answered as what it was.
_NATIVE = (
    "request.headers['content-type'].startsWith('application/grpc') && !('x-envoy-original-path' in request.headers)"
)


def local_replies(headers: Sequence[Config]) -> Config:
    """Envoy's ``local_reply_config``: how each of its own answers is written, for gRPC and for everybody else.

    Each gets ``headers`` too: when memory is scarce, requests are refused before any filter could add them.
    """
    mappers = [_healthy(), *_denied_by_auth()]
    for error in EDGE_ERRORS:
        mappers += [_for_grpc(error), _for_rest(error)]
    for mapper in mappers:
        mapper["headers_to_add"] = [*mapper.get("headers_to_add", ()), *headers]
    return {"mappers": mappers}


def _healthy() -> Config:
    return {
        "filter": _when("response.code_details.startsWith('health_check_ok')"),
        "body_format_override": {"json_format": {"status": "ok"}},
    }


def _denied_by_auth() -> list[Config]:
    """auth says in both forms why it denies a call: JSON as the body, and what is native gRPC's in a header."""
    denied = "response.code_details.startsWith('ext_authz_denied')"
    native = [
        {
            "filter": _when(f"{denied} && response.code == {http_status} && {_NATIVE}"),
            "headers_to_add": [set_header("grpc-status", str(code_pb2.Code.Value(code)))],
            "body": {"inline_string": "what came with the call does not open this method; the details say why"},
        }
        for http_status, code in _DENIALS.items()
    ]
    as_it_is = {"text_format_source": {"inline_string": "%LOCAL_REPLY_BODY%"}, "content_type": "application/json"}
    return [*native, {"filter": _when(denied), "body_format_override": as_it_is}]


def _for_grpc(error: EdgeError) -> Config:
    status = error.status()
    details = base64.b64encode(status.SerializeToString(deterministic=True)).decode()
    return {
        "filter": _when(f"({error.when}) && {_NATIVE}"),
        # gRPC-Web derives its own status from it; native gRPC always says 200.
        "status_code": error.http_status,
        "headers_to_add": [
            set_header("grpc-status", str(status.code)),
            set_header("grpc-status-details-bin", details),
            *_retry_after(error),
        ],
        "body": {"inline_string": error.message},
    }


def _for_rest(error: EdgeError) -> Config:
    body = MessageToDict(error.status(), preserving_proto_field_name=True)
    return {
        "filter": _when(error.when),
        "status_code": error.http_status,
        "headers_to_add": _retry_after(error),
        "body_format_override": {"json_format": body},
    }


def _retry_after(error: EdgeError) -> list[Config]:
    return [] if error.retry_after is None else [set_header("retry-after", str(error.retry_after))]


def _when(expression: str) -> Config:
    return {
        "extension_filter": {
            "name": "envoy.access_loggers.extension_filters.cel",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
                "expression": expression,
            },
        }
    }
