"""Between the domain and the contracts of programs and of the edge: API keys, limits, what the gateway asks."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.rpc import code_pb2, status_pb2

from levimesh.auth.v1 import api_key_pb2, policy_service_pb2
from levimesh.foreign.envoy.config.core.v3.base_pb2 import HeaderValue, HeaderValueOption
from levimesh.foreign.envoy.extensions.common.ratelimit.v3.ratelimit_pb2 import RateLimitDescriptor
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from levimesh.foreign.envoy.type.v3 import http_status_pb2
from levimesh.policy.v1 import policy_pb2
from services.auth import converters
from services.auth.domain.api_keys import ApiKey
from services.auth.domain.limits import Allowance, Balance
from services.auth.domain.tokens import AccessToken, Grant, Scope
from services.runtime import timestamps
from services.runtime.errors import FieldViolations, MeshError
from services.runtime.statuses import STATUS_DETAILS, to_status

API_KEY_HEADER = "x-api-key"
DOMAIN = "levimesh"

_UNITS = {
    1: rls_pb2.RateLimitResponse.RateLimit.SECOND,
    60: rls_pb2.RateLimitResponse.RateLimit.MINUTE,
    3600: rls_pb2.RateLimitResponse.RateLimit.HOUR,
    86400: rls_pb2.RateLimitResponse.RateLimit.DAY,
}
_HTTP = {
    "UNAUTHENTICATED": http_status_pb2.Unauthorized,
    "PERMISSION_DENIED": http_status_pb2.Forbidden,
    "RESOURCE_EXHAUSTED": http_status_pb2.TooManyRequests,
    "UNAVAILABLE": http_status_pb2.ServiceUnavailable,
}


def bearer_of(headers: Mapping[str, str]) -> str | None:
    """The token of the call, if it has brought one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def api_key_to_pb(key: ApiKey) -> api_key_pb2.ApiKey:
    """The key as its owner sees it."""
    return api_key_pb2.ApiKey(
        key_id=key.key_id,
        name=key.name,
        prefix=key.prefix,
        scopes=sorted(api_key_pb2.Scope.Value(f"SCOPE_{scope.name}") for scope in key.scopes),
        allowed_networks=key.networks,
        rate_tier=policy_pb2.RATE_TIER_UNSPECIFIED if key.given_tier is None else converters.tier_to_pb(key.given_tier),
        create_time=timestamps.to_pb(key.create_time),
        expire_time=timestamps.to_pb(key.expire_time),
        last_use_time=None if key.last_use_time is None else timestamps.to_pb(key.last_use_time),
        revoke_time=None if key.revoke_time is None else timestamps.to_pb(key.revoke_time),
    )


def scopes_from_pb(scopes: Iterable["api_key_pb2.Scope.ValueType"]) -> frozenset[Scope]:
    """The scopes of a request, which its rules have checked."""
    return frozenset(Scope[api_key_pb2.Scope.Name(scope).removeprefix("SCOPE_")] for scope in scopes)


def admitted(grant: Grant, token: AccessToken) -> external_auth_pb2.CheckResponse:
    """The call goes on with ``token`` in place of what it was exchanged for."""
    headers = {
        "authorization": f"Bearer {token.text}",
        "x-levimesh-subject": grant.user.user_id,
        "x-levimesh-tier": grant.tier.value,
    }
    return external_auth_pb2.CheckResponse(
        status=status_pb2.Status(code=code_pb2.OK),
        ok_response=external_auth_pb2.OkHttpResponse(headers=_replacing(headers), headers_to_remove=[API_KEY_HEADER]),
    )


def denied(error: MeshError) -> external_auth_pb2.CheckResponse:
    """The call ends with ``error``: as JSON over REST, as grpc-status-details over gRPC."""
    status = to_status(error)
    headers = {
        "content-type": "application/json",
        STATUS_DETAILS: base64.b64encode(status.SerializeToString(deterministic=True)).decode(),
    }
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
    return external_auth_pb2.CheckResponse(
        status=status,
        denied_response=external_auth_pb2.DeniedHttpResponse(
            status=http_status_pb2.HttpStatus(
                code=_HTTP.get(error.status, http_status_pb2.InternalServerError),
            ),
            headers=_replacing(headers),
            body=json.dumps(MessageToDict(status, preserving_proto_field_name=True)),
        ),
    )


def call_from_descriptor(descriptor: RateLimitDescriptor) -> tuple[str, str, str, str]:
    """Method, subject, address and tier; those that are not said are empty. Raises FieldViolations without a method."""
    said = {entry.key: entry.value for entry in descriptor.entries}
    if "method" not in said:
        raise FieldViolations({"descriptors": "each must have an entry `method`"})
    return said["method"], said.get("subject", ""), said.get("address", ""), said.get("tier", "")


def check_domain(domain: str) -> None:
    """Raise FieldViolations unless the limits of ``domain`` are ours."""
    if domain != DOMAIN:
        raise FieldViolations({"domain": f"must be {DOMAIN}"})


def counts_to_pb(counts: Sequence[tuple[bool, Allowance, Balance | None]]) -> rls_pb2.RateLimitResponse:
    """What became of each descriptor; all have to be within their limit."""
    response = rls_pb2.RateLimitResponse(overall_code=rls_pb2.RateLimitResponse.OK)
    for allowed, allowance, balance in counts:
        response.statuses.append(_status_to_pb(allowed, allowance, balance))
        if not allowed:
            response.overall_code = rls_pb2.RateLimitResponse.OVER_LIMIT
            seconds = allowance.seconds if balance is None else math.ceil(balance.reset_in)
            del response.response_headers_to_add[:]
            response.response_headers_to_add.append(HeaderValue(key="retry-after", value=str(max(1, seconds))))
    return response


def limit_to_pb(allowance: Allowance, balance: Balance | None) -> policy_service_pb2.Limit:
    """A limit as its caller sees it."""
    return policy_service_pb2.Limit(
        method=allowance.method,
        calls=allowance.calls,
        per=Duration(seconds=allowance.seconds),
        remaining=None if balance is None else balance.remaining,
        reset_in=None if balance is None else _duration(balance.reset_in),
    )


def _status_to_pb(
    allowed: bool, allowance: Allowance, balance: Balance | None
) -> rls_pb2.RateLimitResponse.DescriptorStatus:
    kind = rls_pb2.RateLimitResponse
    status = kind.DescriptorStatus(code=kind.OK if allowed else kind.OVER_LIMIT)
    if balance is not None:
        unit = _UNITS.get(allowance.seconds, kind.RateLimit.UNKNOWN)
        status.current_limit.CopyFrom(kind.RateLimit(requests_per_unit=allowance.calls, unit=unit))
        status.limit_remaining = balance.remaining
        status.duration_until_reset.CopyFrom(_duration(balance.reset_in))
    return status


def _replacing(headers: Mapping[str, str]) -> list[HeaderValueOption]:
    return [
        HeaderValueOption(
            header=HeaderValue(key=key, value=value), append_action=HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
        )
        for key, value in headers.items()
    ]


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration
