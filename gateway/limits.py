"""How often each method may be called, as the contracts say: by Envoy's own buckets, or by auth for all gateways.

Callers are told apart by user, address and tier; of public methods by address alone. A bucket is filled continuously,
and holds at most what the contract allows in its span. A stream counts once, when it is opened.

auth's own methods are counted by the process that serves them, those of other services by its worker at the edge: a
flood of logins waits in its own queue, and no order waits in that.
"""

import math
from collections.abc import Iterable
from itertools import product
from typing import Any

from gateway.contracts import ASKED, COUNT, EXCHANGE, Method, deadline_of, rate_limit_of
from gateway.settings import GatewaySettings
from services.runtime.policy import ELEVATED, STANDARD, RateLimit

Config = dict[str, Any]

LOCAL = "envoy.filters.http.local_ratelimit"
EXCHANGES = "levimesh.ratelimit.exchanges"
"""The filter that limits how often auth is asked who it is that brings no token."""
DOMAIN = "levimesh"
SUBJECT, TIER, ADDRESS = "x-levimesh-subject", "x-levimesh-tier", "x-levimesh-address"
"""The headers that tell who calls; the gateway sets them, and drops what a client says in them."""

RETRY_STEPS = (1, 2, 3, 5, 6, 10, 15, 20, 30, 60)
"""The seconds after which a refused caller is told to try again: the smallest that is enough."""

_COUNTED_CALLERS = 4096
"""How many callers of a method have a bucket at a time; the one that has been away longest loses its own first."""
_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_LOCAL = f"{_FILTERS}.local_ratelimit.v3.LocalRateLimit"
_COUNTED_BY = ("auth", ASKED)
_ENDLESS = {"max_tokens": 2**32 - 1, "tokens_per_fill": 2**32 - 1, "fill_interval": "1s"}
NO_EXCHANGES: Config = {"@type": _LOCAL, "stat_prefix": "exchanges", "token_bucket": _ENDLESS}
"""What a route has where auth is not asked: this filter does something only where it is enabled."""
_STAGES = {(cluster, refusing): stage for stage, (cluster, refusing) in enumerate(product(_COUNTED_BY, (True, False)))}
"""The filters that let auth count, by who is asked, and whether calls are refused or pass without an answer."""


def exchange_filter(settings: GatewaySettings, asked: list[Config]) -> list[Config]:
    """The filter for calls whose headers match ``asked``: each address may let auth be asked that often.

    Nothing is known of such a caller but the address, and a key that was guessed costs auth more than us.
    """
    if settings.rate_limit_scale == 0:
        return []
    limit = rate_limit_of(EXCHANGE)
    bucket = _bucket(limit, STANDARD, settings.rate_limit_scale)
    known = {"header_value_match": {"descriptor_key": "asked", "descriptor_value": "yes", "headers": asked}}
    config = {
        "@type": _LOCAL,
        "stat_prefix": "exchanges",
        # Of the calls that auth is not asked about.
        "token_bucket": _ENDLESS,
        "always_consume_default_token_bucket": False,
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": 100}},
        "rate_limited_as_resource_exhausted": True,
        "response_headers_to_add": [
            {"header": {"key": "retry-after", "value": str(_wait(limit, settings.rate_limit_scale))}}
        ],
        "max_dynamic_descriptors": _COUNTED_CALLERS,
        "rate_limits": [{"actions": [known, _NETWORK]}],
        "descriptors": [{"entries": [{"key": "asked", "value": "yes"}, _ANY_NETWORK], "token_bucket": bucket}],
    }
    return [{"name": EXCHANGES, "typed_config": config}]


def local_filter() -> Config:
    """The filter of Envoy's own buckets; each route has its own."""
    return {
        "name": LOCAL,
        "typed_config": {"@type": _LOCAL, "stat_prefix": "local"},
    }


def counting_filters() -> list[Config]:
    """The filters that ask auth, for routes that say so."""
    return [_counting(*each) for each in _STAGES]


def limit_route(method: Method, settings: GatewaySettings) -> tuple[Config, list[Config]]:
    """What the route of ``method`` needs: its filters' own configuration, and its ``rate_limits``."""
    if settings.rate_limit_scale == 0:
        return {}, []
    if method.rate_limit.across_replicas:
        stage = _STAGES["auth" if method.workload == "auth" else ASKED, method.rate_limit.refused_in_outage]
        return {}, [{"stage": stage, "actions": actions} for actions in _counted(method)]
    return {LOCAL: _buckets(method, settings.rate_limit_scale)}, []


def retry_after(method: Method, scale: float) -> int:
    """How long, in steps, a caller of the standard tier with an empty bucket waits for the next call."""
    return _wait(method.rate_limit, scale)


def _counting(cluster: str, refusing: bool) -> Config:
    words = f"{cluster}.{'refusing' if refusing else 'allowing'}"
    return {
        "name": f"levimesh.ratelimit.{words}",
        "typed_config": {
            "@type": f"{_FILTERS}.ratelimit.v3.RateLimit",
            "domain": DOMAIN,
            "stage": _STAGES[cluster, refusing],
            "stat_prefix": words.replace(".", "_"),
            "timeout": deadline_of(COUNT),
            "failure_mode_deny": refusing,
            "status_on_error": {"code": "ServiceUnavailable"},
            "rate_limited_as_resource_exhausted": True,
            "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
            "rate_limit_service": {
                "grpc_service": {"envoy_grpc": {"cluster_name": cluster}, "timeout": deadline_of(COUNT)},
                "transport_api_version": "V3",
            },
        },
    }


def _counted(method: Method) -> Iterable[list[Config]]:
    """The descriptors that auth is asked about: method, address, and for known users subject and tier."""
    first = [
        {"generic_key": {"descriptor_key": "method", "descriptor_value": method.path}},
        _header(ADDRESS, "address"),
    ]
    if method.public:
        return [first]
    return [[*first, _header(SUBJECT, "subject"), tier] for tier in (_elevated(), _any_other())]


def _buckets(method: Method, scale: float) -> Config:
    wait = str(retry_after(method, scale))
    return {
        "@type": _LOCAL,
        "stat_prefix": "local",
        # For calls that nothing can be said of; there should be none.
        "token_bucket": _bucket(method.rate_limit, STANDARD, scale),
        "always_consume_default_token_bucket": False,
        "filter_enabled": {"default_value": {"numerator": 100}},
        "filter_enforced": {"default_value": {"numerator": 100}},
        "rate_limited_as_resource_exhausted": True,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "response_headers_to_add": [{"header": {"key": "retry-after", "value": wait}}],
        "max_dynamic_descriptors": _COUNTED_CALLERS,
        **_told_apart(method, scale),
    }


def _told_apart(method: Method, scale: float) -> Config:
    """Which bucket a call takes from. Entries without a value stand for any, each with a bucket of its own."""
    if method.public:
        return {
            "rate_limits": [{"actions": [_NETWORK]}],
            "descriptors": [{"entries": [_ANY_NETWORK], "token_bucket": _bucket(method.rate_limit, STANDARD, scale)}],
        }
    who, any_caller = [_header(SUBJECT, "subject"), _NETWORK], [{"key": "subject"}, _ANY_NETWORK]
    return {
        "rate_limits": [{"actions": [tier, *who]} for tier in (_elevated(), _any_other())],
        "descriptors": [
            {
                "entries": [{"key": "tier", "value": tier}, *any_caller],
                "token_bucket": _bucket(method.rate_limit, tier, scale),
            }
            for tier in (ELEVATED, STANDARD)
        ],
    }


# Whoever has one address of IPv6 has 2^64 of them.
_NETWORK: Config = {"masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}}
_ANY_NETWORK = {"key": "masked_remote_address"}


def _header(name: str, key: str) -> Config:
    return {"request_headers": {"header_name": name, "descriptor_key": key}}


def _elevated() -> Config:
    return _tier(ELEVATED, expect_match=True)


def _any_other() -> Config:
    return _tier(STANDARD, expect_match=False)


def _tier(said: str, *, expect_match: bool) -> Config:
    return {
        "header_value_match": {
            "descriptor_key": "tier",
            "descriptor_value": said,
            "expect_match": expect_match,
            "headers": [{"name": TIER, "string_match": {"exact": ELEVATED}}],
        }
    }


def _bucket(limit: RateLimit, tier: str, scale: float) -> Config:
    calls = _calls(limit, tier, scale)
    return {"max_tokens": calls, "tokens_per_fill": calls, "fill_interval": f"{limit.seconds:.3f}s"}


def _wait(limit: RateLimit, scale: float) -> int:
    return _step(limit.seconds / _calls(limit, STANDARD, scale))


def _calls(limit: RateLimit, tier: str, scale: float) -> int:
    return max(1, math.ceil(limit.calls[tier] * scale))


def _step(seconds: float) -> int:
    return next((step for step in RETRY_STEPS if seconds <= step), RETRY_STEPS[-1])
