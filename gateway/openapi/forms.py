"""What the methods take and answer whose bodies are no JSON of the contract: OAuth 2.0 (RFC 6749), and pages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Schema = dict[str, Any]


@dataclass(frozen=True)
class Form:
    """The bodies of one method."""

    request: Schema
    success: Schema
    responses: Schema = field(default_factory=dict)
    """Answers besides success and the errors that every method has; they take the place of these."""


def _strings(required: tuple[str, ...], **descriptions: str) -> Schema:
    properties = {name: {"type": "string", "description": text} for name, text in descriptions.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


_ERROR_CODES = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
]
_OAUTH_ERROR: Schema = {
    "type": "object",
    "properties": {
        "error": {"type": "string", "enum": _ERROR_CODES},
        "error_description": {"type": "string"},
    },
    "required": ["error"],
}
_PAGE = {"text/html": {"schema": {"type": "string"}}}
_ERROR = {"$ref": "#/components/schemas/google.rpc.Status"}
_BACK: Schema = {
    "description": "Back to the client, with a `code`, or an `error`.",
    "headers": {"location": {"required": True, "schema": {"type": "string", "format": "uri"}}},
}
_REFUSED: Schema = {
    "description": "INVALID_ARGUMENT; or a page that says why this login is not possible.",
    "content": {**_PAGE, "application/json": {"schema": _ERROR}},
}

_TOKEN = Form(
    request=_strings(
        ("grant_type",),
        grant_type="`client_credentials`, `refresh_token` or `authorization_code`.",
        client_id="The prefix of an API key (`client_credentials`, unless by HTTP Basic), or the name of a client.",
        client_secret="The API key (`client_credentials`, unless by HTTP Basic).",  # noqa: S106 - says what it is
        scope="Fewer scopes than the API key has, with spaces between them.",
        refresh_token="The newest refresh token of the session.",  # noqa: S106 - says what it is
        request_id="A UUID for this exchange of a refresh token; the same again for a retry of it.",
        code="The code that the browser came back with.",
        redirect_uri="The same as in the authorization request.",
        code_verifier="What the code challenge was made of (RFC 7636).",
    ),
    success={
        "description": "Tokens.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "access_token": {"type": "string"},
                        "token_type": {"const": "Bearer"},
                        "expires_in": {"type": "integer", "description": "Seconds."},
                        "refresh_token": {"type": "string"},
                        "scope": {"type": "string"},
                    },
                    "required": ["access_token", "token_type", "expires_in"],
                }
            }
        },
    },
    responses={
        "400": {
            "description": "INVALID_ARGUMENT; or an error of RFC 6749.",
            "content": {"application/json": {"schema": {"anyOf": [_OAUTH_ERROR, _ERROR]}}},
        },
        "401": {
            "description": "invalid_client",
            "headers": {"www-authenticate": {"schema": {"type": "string"}}},
            "content": {"application/json": {"schema": _OAUTH_ERROR}},
        },
    },
)
_SHOW_LOGIN = Form(
    request={},
    success={"description": "The login page.", "content": _PAGE},
    responses={"303": _BACK, "400": _REFUSED},
)
_AUTHORIZE = Form(
    request=_strings(
        ("client_id", "redirect_uri", "response_type", "code_challenge", "code_challenge_method"),
        response_type="`code`.",
        client_id="As in the authorization request, like the five that follow.",
        redirect_uri="Where the browser goes afterwards.",
        scope="Scopes.",
        state="Given back as it is.",
        code_challenge="SHA-256 of the code verifier, base64url.",
        code_challenge_method="`S256`.",
        username="Who logs in.",
        password="The password.",  # noqa: S106 - says what it is
        second_factor="A code of the authenticator, or a recovery code.",
    ),
    success={"description": "Never: a login leads back to the client.", "content": _PAGE},
    responses={
        "303": _BACK,
        "400": _REFUSED,
        "401": {"description": "The login page again: who you are is not proved.", "content": _PAGE},
        "429": {
            "description": "RESOURCE_EXHAUSTED: RATE_LIMITED, OVERLOADED; or the login page while the name is locked.",
            "content": {**_PAGE, "application/json": {"schema": _ERROR}},
        },
    },
)

_QUALITY_PAGE = Form(request={}, success={"description": "The page.", "content": _PAGE})

_SERVICE = "levimesh.auth.v1.OAuthService"
FORMS: Mapping[str, Form] = {
    f"{_SERVICE}.Token": _TOKEN,
    f"{_SERVICE}.ShowLogin": _SHOW_LOGIN,
    f"{_SERVICE}.Authorize": _AUTHORIZE,
    "levimesh.marketdata.v1.DataQualityService.RenderQualityReport": _QUALITY_PAGE,
}
"""By the full name of the method."""
