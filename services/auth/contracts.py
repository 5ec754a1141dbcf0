"""The contracts of the whole mesh: whose policies are told, and whose limits are counted, here."""

from collections.abc import Iterator

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor

from levimesh.auth.v1 import (
    api_key_service_pb2,
    audit_service_pb2,
    auth_service_pb2,
    oauth_service_pb2,
    policy_service_pb2,
    user_service_pb2,
)
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

API_KEY_SERVICE = api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"]
POLICY_SERVICE = policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"]
AUTHORIZATION = external_auth_pb2.DESCRIPTOR.services_by_name["Authorization"]
RATE_LIMIT_SERVICE = rls_pb2.DESCRIPTOR.services_by_name["RateLimitService"]

ASKED_AT_THE_EDGE: tuple[ServiceDescriptor, ...] = (AUTHORIZATION, RATE_LIMIT_SERVICE)
"""What the gateway asks while a call waits."""
MESH: tuple[ServiceDescriptor, ...] = (
    auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
    user_service_pb2.DESCRIPTOR.services_by_name["UserService"],
    API_KEY_SERVICE,
    oauth_service_pb2.DESCRIPTOR.services_by_name["OAuthService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    POLICY_SERVICE,
    *ASKED_AT_THE_EDGE,
    marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"],
    symbol_service_pb2.DESCRIPTOR.services_by_name["SymbolService"],
    book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"],
    quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"],
    ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    trading_service_pb2.DESCRIPTOR.services_by_name["TradingService"],
)
"""Every service whose methods have a policy."""


def methods() -> Iterator[MethodDescriptor]:
    """Every method of the mesh."""
    for service in MESH:
        yield from service.methods
