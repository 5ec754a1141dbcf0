"""What the gateway takes from the contracts: which methods it passes on, and the descriptors for transcoding."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from google.api import annotations_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.rpc import error_details_pb2, status_pb2

from levimesh.auth.v1 import (
    api_key_service_pb2,
    audit_service_pb2,
    auth_service_pb2,
    oauth_service_pb2,
    policy_service_pb2,
    user_service_pb2,
)
from levimesh.client.service_config import repeatable_methods
from levimesh.foreign.envoy.service.auth.v3 import external_auth_pb2
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from levimesh.marketdata.v1 import (
    book_service_pb2,
    ingest_service_pb2,
    marketdata_service_pb2,
    quality_service_pb2,
    symbol_service_pb2,
)
from levimesh.prediction.v1 import prediction_service_pb2
from levimesh.trading.v1 import trading_service_pb2
from services.runtime.policy import Policy, RateLimit, effective_policy, policies

WORKLOAD = "gateway"
"""The name by which policies admit the gateway, and the last part of its SPIFFE id."""

SERVICES: Mapping[str, tuple[ServiceDescriptor, ...]] = {
    "auth": (
        auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
        user_service_pb2.DESCRIPTOR.services_by_name["UserService"],
        api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
        oauth_service_pb2.DESCRIPTOR.services_by_name["OAuthService"],
        audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
        policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    ),
    "marketdata": (
        marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"],
        symbol_service_pb2.DESCRIPTOR.services_by_name["SymbolService"],
        book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"],
        quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"],
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
    ),
    "prediction": (prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],),
    "trading": (trading_service_pb2.DESCRIPTOR.services_by_name["TradingService"],),
}
"""The services of each workload that the gateway reaches."""

ASKED = "auth-edge"
"""The endpoints of auth that answer what the gateway itself asks while a call waits."""
EXCHANGE = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"].methods_by_name["Check"]
"""What auth is asked about a call that brings something other than a token of the mesh."""
COUNT = rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"].methods_by_name["ShouldRateLimit"]
"""What auth is asked about a call that is counted for all gateways together."""


@dataclass(frozen=True)
class Method:
    """A method that clients reach through the gateway."""

    workload: str
    path: str
    """``/levimesh.trading.v1.TradingService/SubmitOrder``."""
    public: bool
    for_admins: bool
    """Whether nobody but an admin may call it."""
    repeatable: bool
    """Whether it is unary, and its policy says that a repetition does no harm: what clients repeat too."""
    deadline: timedelta | None
    """None for streams."""
    rate_limit: RateLimit
    speaks_http: bool
    """Whether over REST it answers with a body of its own (HttpBody), and so with a status of its own too."""


def exposed_methods() -> Iterator[Method]:
    """The methods whose policy names the gateway as a caller; no other method can be reached from outside.

    Raises PolicyError naming each method without a sound policy.
    """
    for workload, services in SERVICES.items():
        for service in services:
            by_path = policies(service)
            for method in service.methods:
                policy = by_path[f"/{service.full_name}/{method.name}"]
                if WORKLOAD in policy.callers:
                    yield _method(workload, method, policy)


def rate_limit_of(method: MethodDescriptor) -> RateLimit:
    """How often ``method`` may be called, which its contract has to say."""
    limit = policies(method.containing_service)[f"/{method.containing_service.full_name}/{method.name}"].rate_limit
    assert limit is not None, method.full_name  # noqa: S101 - the contracts are part of the program
    return limit


def deadline_of(method: MethodDescriptor) -> str:
    """How long a call of ``method`` may take, as Envoy writes it."""
    return f"{effective_policy(method).deadline.ToTimedelta().total_seconds():.3f}s"


def _method(workload: str, method: MethodDescriptor, policy: Policy) -> Method:
    assert policy.rate_limit is not None  # noqa: S101 - a policy with callers has one
    return Method(
        workload=workload,
        path=policy.method,
        public=policy.public,
        for_admins=policy.roles == {"ROLE_ADMIN"} or policy.scopes == {"admin"},
        repeatable=policy.method in repeatable_methods(method.containing_service),
        deadline=None if method.server_streaming else timedelta(seconds=policy.deadline or 0),
        rate_limit=policy.rate_limit,
        speaks_http=_speaks_http(method),
    )


def _speaks_http(method: MethodDescriptor) -> bool:
    body = method.GetOptions().Extensions[annotations_pb2.http].response_body
    return bool(body) and method.output_type.fields_by_name[body].message_type is httpbody_pb2.HttpBody.DESCRIPTOR


def page_paths() -> Iterator[str]:
    """Where a browser asks for a page over REST, with whatever parameters it was sent there."""
    for service in (service for services in SERVICES.values() for service in services):
        for method in service.methods:
            path = method.GetOptions().Extensions[annotations_pb2.http].get
            if path and _speaks_http(method):
                yield path


def descriptor_set() -> bytes:
    """The FileDescriptorSet of every service, with the messages that the details of an error may hold."""
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    roots = [service.file for services in SERVICES.values() for service in services]
    _collect([*roots, status_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR], files)
    return descriptor_pb2.FileDescriptorSet(file=files.values()).SerializeToString(deterministic=True)


def _collect(roots: Iterable[FileDescriptor], files: dict[str, descriptor_pb2.FileDescriptorProto]) -> None:
    """Add ``roots`` and all that they import to ``files``, imports first."""
    for root in roots:
        if root.name not in files:
            _collect(root.dependencies, files)
            files[root.name] = descriptor_pb2.FileDescriptorProto()
            root.CopyToProto(files[root.name])
