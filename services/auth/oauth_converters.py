"""Between the web's forms and pages, which OAuth speaks, and the domain."""

import base64
import json
import math
from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote_plus

from google.api import httpbody_pb2

from levimesh.auth.v1 import oauth_service_pb2 as pb
from services.auth.domain.oauth import GRANTS, OPENID, OAuthError
from services.auth.domain.tokens import Scope
from services.auth.pages import Page
from services.auth.use_cases.oauth import ClientSecret, Granted
from services.runtime.errors import MeshError
from services.runtime.statuses import RETRY_AFTER

Headers = tuple[tuple[str, str], ...]

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 32
_CLAIMS = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "sid", "preferred_username")
"""Of an ID token."""
_HTTP_STATUS = "x-levimesh-http-status"
"""By it the gateway is told which HTTP status the answer has; see gateway/statuses.py."""


def form_of(body: httpbody_pb2.HttpBody) -> Mapping[str, str]:
    """The fields of a form; one without a value counts as absent. Raises OAuthError."""
    if body.content_type.partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"the body has to be {_FORM}")
    try:
        fields = parse_qsl(body.data.decode("ascii"), errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError as error:
        raise OAuthError("invalid_request", "the form cannot be read") from error
    found = dict(fields)
    if len(found) != len(fields):
        raise OAuthError("invalid_request", "a parameter stands there twice")
    return found


def client_of(headers: Mapping[str, str | bytes], form: Mapping[str, str]) -> ClientSecret | None:
    """What a client proves itself by: HTTP Basic (RFC 6749, 2.3.1) or the form, not both. Raises OAuthError."""
    scheme, _, coded = str(headers.get("authorization", "")).partition(" ")
    if scheme.lower() != "basic":
        secret = form.get("client_secret")
        return None if secret is None else ClientSecret(form.get("client_id", ""), secret)
    if "client_secret" in form:
        raise OAuthError("invalid_request", "the client proves itself twice")
    try:
        client_id, colon, secret = base64.b64decode(coded, validate=True).decode().partition(":")
    except ValueError as error:
        raise OAuthError("invalid_client", "the authorization header cannot be read") from error
    if not colon or form.get("client_id", client_id) != client_id:
        raise OAuthError("invalid_client", "the authorization header is not that of the client")
    return ClientSecret(unquote_plus(client_id), unquote_plus(secret))


def request_of(request: pb.ShowLoginRequest) -> Mapping[str, str]:
    """The parameters of an authorization request."""
    return {field.name: value for field, value in request.ListFields()}


def granted_to_pb(granted: Granted) -> pb.TokenResponse:
    """Tokens (RFC 6749, 5.1)."""
    said = {
        "access_token": granted.access_token.text,
        "token_type": "Bearer",
        "expires_in": granted.access_token.seconds,
        **({"refresh_token": granted.refresh_token} if granted.refresh_token else {}),
        **({"scope": granted.scope} if granted.scope else {}),
        **({"id_token": granted.id_token} if granted.id_token else {}),
    }
    return pb.TokenResponse(body=_json(said))


def refused_to_pb(error: OAuthError) -> tuple[pb.TokenResponse, Headers]:
    """An error (RFC 6749, 5.2), and what its status is."""
    said = {"error": error.code, "error_description": error.description}
    response = pb.TokenResponse(body=_json(said))
    if error.code != "invalid_client":
        return response, ((_HTTP_STATUS, "400"),)
    return response, ((_HTTP_STATUS, "401"), ("www-authenticate", 'Basic realm="levimesh", charset="UTF-8"'))


def page_to_pb(page: Page, status: int = 200) -> tuple[httpbody_pb2.HttpBody, Headers]:
    """A page, and what a browser is told of it."""
    body = httpbody_pb2.HttpBody(content_type="text/html; charset=utf-8", data=page.html.encode())
    return body, ((_HTTP_STATUS, str(status)), ("content-security-policy", page.content_security_policy))


def retry_after(error: MeshError) -> Headers:
    """When another try makes sense, where that is known."""
    return () if error.retry_after is None else ((RETRY_AFTER, str(math.ceil(error.retry_after))),)


def redirection_to_pb(location: str) -> tuple[httpbody_pb2.HttpBody, Headers]:
    """Nothing but where to go on; with GET, so that a password is not sent there (RFC 9700, 4.12)."""
    return httpbody_pb2.HttpBody(content_type="text/plain"), ((_HTTP_STATUS, "303"), ("location", location))


def configuration_to_pb(issuer: str) -> pb.GetOpenIdConfigurationResponse:
    """The description of ``issuer``, which is a URL wherever clients are to find their way by it."""
    base = issuer.rstrip("/") if "://" in issuer else ""
    return pb.GetOpenIdConfigurationResponse(
        issuer=issuer,
        authorization_endpoint=f"{base}/oauth2/authorize",
        token_endpoint=f"{base}/oauth2/token",
        jwks_uri=f"{base}/.well-known/jwks.json",
        response_types_supported=["code"],
        grant_types_supported=GRANTS,
        token_endpoint_auth_methods_supported=["none", "client_secret_basic", "client_secret_post"],
        code_challenge_methods_supported=["S256"],
        scopes_supported=[OPENID, *Scope],
        claims_supported=_CLAIMS,
        subject_types_supported=["public"],
        id_token_signing_alg_values_supported=["EdDSA"],
    )


def _json(said: Mapping[str, object]) -> httpbody_pb2.HttpBody:
    return httpbody_pb2.HttpBody(content_type="application/json", data=json.dumps(said).encode())
