"""The gRPC service config of a client, derived from the contract: retries and load balancing."""

import json
from typing import Any

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from levimesh.policy.v1 import policy_pb2

_REPEATABLE = {
    policy_pb2.IDEMPOTENCY_READ_ONLY,
    policy_pb2.IDEMPOTENCY_BY_REQUEST_ID,
    policy_pb2.IDEMPOTENCY_SAME_STATE,
}

_RETRIES = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "1s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}


def service_config(*services: ServiceDescriptor) -> str:
    """The service config (JSON) for calls to ``services``.

    A unary method is retried when its server is away, only where its policy says that a repetition does no harm, and
    within a budget: after a few failures in a row there is no more than one retry for every two calls that succeed.
    Streams are not retried here, but resumed (``levimesh.client.streams``); for deadlines see
    ``levimesh.client.deadlines``.
    """
    methods = [method for service in services for method in service.methods]
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "methodConfig": [
                {"name": [_name(method)], "retryPolicy": _RETRIES} for method in methods if _is_retried(method)
            ],
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.5},
        }
    )


def repeatable_methods(*services: ServiceDescriptor) -> frozenset[str]:
    """The unary methods of ``services`` that may be called again, as ``/package.Service/Method``."""
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
        if _is_retried(method)
    )


def _name(method: MethodDescriptor) -> dict[str, Any]:
    return {"service": method.containing_service.full_name, "method": method.name}


def _is_retried(method: MethodDescriptor) -> bool:
    policy = method.GetOptions().Extensions[policy_pb2.method]
    return policy.idempotency in _REPEATABLE and not method.server_streaming
