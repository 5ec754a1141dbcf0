"""Who may come in: with an access token of this mesh, with a token of a known issuer, or with an API key.

Tokens of this mesh are checked here, at the price of a signature that is remembered. Only for the others auth is asked,
and answers with a token of its own, so services know no other.
"""

from typing import Any
from urllib.parse import urlsplit

from gateway.contracts import ASKED, EXCHANGE, Method, deadline_of
from gateway.limits import ADDRESS, EXCHANGES, NO_EXCHANGES, SUBJECT, TIER, exchange_filter
from gateway.secrets import web_tls
from gateway.settings import ExternalIssuer, GatewaySettings

Config = dict[str, Any]

JWT_AUTHN = "envoy.filters.http.jwt_authn"
EXT_AUTHZ = "envoy.filters.http.ext_authz"
RBAC = "envoy.filters.http.rbac"
JWKS_CLUSTER = "jwks"
API_KEY = "x-api-key"
ADMIN_NETWORKS = "admin_networks"
"""The name of the policy that a call from elsewhere does not match."""

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_CLAIMS, _EXTERNAL_CLAIMS = "claims", "external_claims"
_KEY_ALONE = [{"name": API_KEY, "present_match": True}, {"name": "authorization", "present_match": False}]
_BEARER = [{"name": "authorization", "value_prefix": "Bearer "}]


def access_filters(settings: GatewaySettings) -> list[Config]:
    """Address, token, and then the exchange of what is no token of this mesh, so often. Each fails closed."""
    return [
        {"name": RBAC, "typed_config": {"@type": f"{_FILTERS}.rbac.v3.RBAC"}},
        {"name": JWT_AUTHN, "typed_config": _jwt_authn(settings)},
        *exchange_filter(settings, _KEY_ALONE),
        {"name": EXT_AUTHZ, "typed_config": _ext_authz()},
    ]


def guard_route(method: Method, settings: GatewaySettings) -> Config:
    """The filters' own configuration on the route of ``method``."""
    found = dict(OPEN) if method.public else {}
    if method.for_admins and settings.admin_networks:
        found[RBAC] = _only_from(settings)
    return found


OPEN: Config = {
    JWT_AUTHN: {"@type": f"{_FILTERS}.jwt_authn.v3.PerRouteConfig", "disabled": True},
    EXCHANGES: NO_EXCHANGES,
    EXT_AUTHZ: {"@type": f"{_FILTERS}.ext_authz.v3.ExtAuthzPerRoute", "disabled": True},
}
"""Nothing is needed to come in."""


def external_jwks(settings: GatewaySettings) -> list[Config]:
    """Where the keys of other issuers are fetched."""
    return [_place_of_keys(name, issuer) for name, issuer in _external_issuers(settings)]


def _external_issuers(settings: GatewaySettings) -> list[tuple[str, ExternalIssuer]]:
    return [(f"external_{number}", issuer) for number, issuer in enumerate(settings.external_issuers)]


def _place_of_keys(name: str, issuer: ExternalIssuer) -> Config:
    uri = urlsplit(issuer.jwks_uri)
    address = {"address": uri.hostname, "port_value": uri.port or (443 if uri.scheme == "https" else 80)}
    cluster: Config = {
        "name": name,
        "type": "STRICT_DNS",
        "dns_lookup_family": "ALL",
        "connect_timeout": "2s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": address}}}]}],
        },
    }
    if issuer.ca_file is not None and uri.scheme == "https":
        cluster["transport_socket"] = web_tls(str(uri.hostname), issuer.ca_file)
    return cluster


def _jwt_authn(settings: GatewaySettings) -> Config:
    """A token is needed on every route that is not open, except where an API key stands alone: auth checks that.

    What is no sound token is refused even beside a key, so nothing depends on which of them counts.
    """
    providers = {"auth": _own(settings)}
    providers |= {name: _external(name, issuer) for name, issuer in _external_issuers(settings)}
    return {
        "@type": f"{_FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": providers,
        "rules": [
            {"match": {"prefix": "/", "headers": _KEY_ALONE}},
            {"match": {"prefix": "/"}, "requires": _any_of([{"provider_name": name} for name in providers])},
        ],
        "bypass_cors_preflight": True,
    }


def _any_of(requirements: list[Config]) -> Config:
    return requirements[0] if len(requirements) == 1 else {"requires_any": {"requirements": requirements}}


def _own(settings: GatewaySettings) -> Config:
    return {
        "issuer": settings.token_issuer,
        "audiences": [settings.token_audience],
        "from_headers": _BEARER,
        "forward": True,
        "clock_skew_seconds": 5,
        "payload_in_metadata": _CLAIMS,
        "claim_to_headers": [
            {"header_name": SUBJECT, "claim_name": "sub"},
            {"header_name": TIER, "claim_name": "tier"},
        ],
        "remote_jwks": {
            "http_uri": {"uri": "http://auth/.well-known/jwks.json", "cluster": JWKS_CLUSTER, "timeout": "2s"},
            # A new key has to be published this long before it signs.
            "cache_duration": "60s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }


def _external(name: str, issuer: ExternalIssuer) -> Config:
    return {
        "issuer": issuer.issuer,
        "audiences": [issuer.audience],
        "from_headers": _BEARER,
        "forward": True,
        "clock_skew_seconds": 5,
        "payload_in_metadata": _EXTERNAL_CLAIMS,
        "remote_jwks": {
            "http_uri": {"uri": issuer.jwks_uri, "cluster": name, "timeout": "5s"},
            "cache_duration": "300s",
            "async_fetch": {"fast_listener": True, "failed_refetch_duration": "1s"},
        },
        "jwt_cache_config": {"jwt_cache_size": 1000},
    }


def _ext_authz() -> Config:
    """auth is asked about every call that has no token of this mesh."""
    ours = {"filter": JWT_AUTHN, "path": [{"key": _CLAIMS}, {"key": "iss"}], "value": {"present_match": True}}
    return {
        "@type": f"{_FILTERS}.ext_authz.v3.ExtAuthz",
        "transport_api_version": "V3",
        "grpc_service": {"envoy_grpc": {"cluster_name": ASKED}, "timeout": deadline_of(EXCHANGE)},
        "filter_enabled_metadata": {**ours, "invert": True},
        "allowed_headers": {
            "patterns": [{"exact": name} for name in (API_KEY, "authorization", ADDRESS, "user-agent")]
        },
        "metadata_context_namespaces": [JWT_AUTHN],
        "status_on_error": {"code": "ServiceUnavailable"},
        "validate_mutations": True,
        "failure_mode_allow": False,
    }


def _only_from(settings: GatewaySettings) -> Config:
    networks = [
        {"remote_ip": {"address_prefix": str(network.network_address), "prefix_len": network.prefixlen}}
        for network in settings.admin_networks
    ]
    policy = {"permissions": [{"any": True}], "principals": networks}
    rules = {"action": "ALLOW", "policies": {ADMIN_NETWORKS: policy}}
    return {"@type": f"{_FILTERS}.rbac.v3.RBACPerRoute", "rbac": {"rules": rules}}
