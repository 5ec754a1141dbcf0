"""Headers: which of a client's are believed, what services are told, and what browsers are told to be careful with."""

from collections.abc import Iterable
from typing import Any

from gateway.limits import ADDRESS
from gateway.settings import GatewaySettings

Config = dict[str, Any]

_OWN: Config = {"remove_on_match": {"key_matcher": {"prefix": "x-levimesh-", "ignore_case": True}}}
_INSIDE: tuple[Config, ...] = (_OWN, {"remove": "x-envoy-upstream-healthchecked-cluster"})
_UNSPEAKABLE: Config = {
    "remove_on_match": {
        "key_matcher": {"safe_regex": {"regex": ".*[^a-zA-Z0-9.:-].*|.*-[bB][iI][nN]"}},
    }
}
"""Sound HTTP that cannot be said in gRPC, or only in a coding of its own: services would fail at it."""
_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_SPOOFABLE = (
    "x-forwarded-client-cert",
    "x-forwarded-user",
    "x-remote-user",
    "x-user",
    "x-user-id",
    "x-user-name",
    "x-user-roles",
    "x-envoy-original-path",
    "x-envoy-retry-on",
    "x-envoy-retry-grpc-on",
    "x-envoy-max-retries",
    "x-envoy-upstream-rq-timeout-ms",
    "x-envoy-upstream-rq-per-try-timeout-ms",
)
"""Headers by which a proxy tells who calls, or is told what to do; what a client says of them is dropped."""

_CAREFUL = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
_UNLESS_SAID_OTHERWISE = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}
_TLS_ONLY = {"strict-transport-security": "max-age=63072000; includeSubDomains"}

_COUNTED = ("limit", "remaining", "reset")


def without_spoofable_headers(settings: GatewaySettings) -> Config:
    """Applied before anything else looks at a request."""
    # The tracer decides anew which calls are traced; without one nobody may make the services trace theirs.
    names = _SPOOFABLE if settings.otlp_endpoint else (*_SPOOFABLE, "traceparent", "tracestate")
    return {
        "name": "envoy.http.early_header_mutation.header_mutation",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.http.early_header_mutation.header_mutation.v3.HeaderMutation",
            "mutations": [_OWN, _UNSPEAKABLE, *({"remove": name} for name in names)],
        },
    }


def careful_headers(*, tls: bool) -> list[Config]:
    """The security headers of every answer. Pages and documents may say something else of caching and content."""
    always = _CAREFUL | _TLS_ONLY if tls else _CAREFUL
    return [
        *(set_header(key, value) for key, value in always.items()),
        *(set_header(key, value, action="ADD_IF_ABSENT") for key, value in _UNLESS_SAID_OTHERWISE.items()),
    ]


def answer_filter(*, tls: bool) -> Config:
    """The last that sees an answer: adds the security headers and the standard names of the RateLimit headers."""
    standard = [set_header(f"ratelimit-{name}", f"%RESP(x-ratelimit-{name})%") for name in _COUNTED]
    return _mutation("levimesh.answer", response=[*_INSIDE, *_appended(careful_headers(tls=tls)), *_appended(standard)])


def address_filter() -> Config:
    """Tells everything that follows, the services too, from where the call comes."""
    address = set_header(ADDRESS, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    return _mutation("levimesh.address", request=_appended([address]))


def set_header(key: str, value: str, *, action: str = "OVERWRITE_IF_EXISTS_OR_ADD") -> Config:
    """A header as Envoy adds it; one whose value is empty is left out."""
    return {"header": {"key": key, "value": value}, "append_action": action}


def _appended(headers: Iterable[Config]) -> list[Config]:
    return [{"append": header} for header in headers]


def _mutation(name: str, request: Iterable[Config] = (), response: Iterable[Config] = ()) -> Config:
    mutations = {"request_mutations": list(request), "response_mutations": list(response)}
    return {
        "name": name,
        "typed_config": {
            "@type": f"{_EXTENSIONS}.filters.http.header_mutation.v3.HeaderMutation",
            "mutations": mutations,
        },
    }
