"""Which HTTP statuses a method can answer with, and why."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from levimesh.policy.v1 import policy_pb2

Schema = dict[str, Any]

HTTP_STATUSES: Mapping[str, int] = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""What a gRPC status becomes over REST (the comments of google.rpc.Code)."""

LIMIT_HEADERS: Mapping[str, str] = {
    "ratelimit-limit": "How many calls there are in all.",
    "ratelimit-remaining": "How many are left.",
    "ratelimit-reset": "In how many seconds there are more.",
    "retry-after": "In how many seconds another try makes sense.",
}
ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/google.rpc.Status"}}}

_COMMON: Mapping[int, tuple[str, dict[str, list[str]]]] = {
    400: ("Invalid", {"INVALID_ARGUMENT": ["FIELD_VIOLATION", "REQUEST_MALFORMED"]}),
    401: (
        "Unauthenticated",
        {"UNAUTHENTICATED": ["TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "SESSION_ENDED", "API_KEY_INVALID"]},
    ),
    403: ("Denied", {"PERMISSION_DENIED": ["ROLE_NOT_ALLOWED", "SCOPE_MISSING", "ADDRESS_NOT_ALLOWED"]}),
    404: ("NoMethod", {"UNIMPLEMENTED": ["METHOD_NOT_FOUND"]}),
    413: ("TooLarge", {"RESOURCE_EXHAUSTED": ["REQUEST_TOO_LARGE"]}),
    429: ("TooMany", {"RESOURCE_EXHAUSTED": ["RATE_LIMITED", "OVERLOADED"]}),
    431: ("HeadersTooLarge", {"RESOURCE_EXHAUSTED": ["REQUEST_TOO_LARGE"]}),
    500: ("Internal", {"INTERNAL": ["INTERNAL"]}),
    503: ("Unavailable", {"UNAVAILABLE": ["DEPENDENCY_UNAVAILABLE", "SHUTTING_DOWN"]}),
    504: ("Late", {"DEADLINE_EXCEEDED": ["DEADLINE_EXCEEDED"]}),
}
"""What a method can answer because of what all have in common, without its comment saying so."""

_Reasons = dict[int, dict[str, list[str]]]


def error_responses(method: MethodDescriptor, has_path_parameters: bool, said: Mapping[str, list[str]]) -> Schema:
    """The answers of ``method`` other than success, by HTTP status; ``said`` is what its comment says of them."""
    policy = method.GetOptions().Extensions[policy_pb2.method]
    without = (
        *((401,) if policy.public else ()),
        *(() if has_path_parameters else (404,)),
        *((504,) if method.server_streaming else ()),
    )
    reasons = {code: deepcopy(by_status) for code, (_, by_status) in _COMMON.items() if code not in without}
    if policy.public:
        reasons[403] = {"PERMISSION_DENIED": ["ADDRESS_NOT_ALLOWED"]}
    for status, names in said.items():
        _add(reasons, HTTP_STATUSES[status], status, *(name.removeprefix("ERROR_REASON_") for name in names))
    return {str(code): _response(code, by_status) for code, by_status in sorted(reasons.items())}


def _add(reasons: _Reasons, code: int, status: str, *names: str) -> None:
    known = reasons.setdefault(code, {}).setdefault(status, [])
    known += [name for name in names if name not in known]


def common_responses() -> Schema:
    """The answers that most methods can give, by the name under which operations refer to them."""
    return {name: _described(code, by_status) for code, (name, by_status) in _COMMON.items()}


def _response(code: int, by_status: dict[str, list[str]]) -> Schema:
    name, common = _COMMON.get(code, ("", {}))
    if by_status == common:
        return {"$ref": f"#/components/responses/{name}"}
    return _described(code, by_status)


def _described(code: int, by_status: Mapping[str, list[str]]) -> Schema:
    description = "; ".join(f"{status}: {', '.join(names)}" if names else status for status, names in by_status.items())
    response: Schema = {"description": description, "content": ERROR}
    if code == 429:
        response["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in LIMIT_HEADERS}
    return response
