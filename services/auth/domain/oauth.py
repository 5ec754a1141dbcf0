"""Authorization codes with PKCE (RFC 6749, RFC 7636), and the errors of that protocol."""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode, urlsplit, urlunsplit

from services.auth.domain.tokens import Scope

CODE_SECONDS = 60
"""How long a code is good for."""
OPENID = "openid"
"""The scope by which a client asks for an ID token (OpenID Connect Core 1.0)."""
GRANTS = ("authorization_code", "client_credentials", "refresh_token")

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}", re.ASCII)
_NONCE = re.compile(r"[ -~]{0,512}")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)


class OAuthError(Exception):
    """An error of RFC 6749, as the client is told it. It holds no secret."""

    def __init__(self, code: str, description: str) -> None:
        super().__init__(description)
        self.code = code
        """``invalid_request``, ``invalid_client``, ``invalid_grant``, …"""
        self.description = description


class UnknownClient(Exception):
    """The client, or the address to go back to, is not one of the settings: nobody may be sent there."""


@dataclass(frozen=True)
class Client:
    """A public client: a program in the hands of its user, which can keep no secret."""

    client_id: str
    redirect_uris: frozenset[str]


@dataclass(frozen=True)
class AuthorizationRequest:
    """What a client asks a person to log in for, checked."""

    client_id: str
    redirect_uri: str
    code_challenge: str
    scope: str
    state: str
    nonce: str

    @classmethod
    def parse(cls, said: Mapping[str, str], clients: Mapping[str, Client]) -> "AuthorizationRequest":
        """The request that the parameters ``said`` make.

        Raises UnknownClient, when it is not known where to send the person back to, else Refused.
        """
        client = clients.get(said.get("client_id", ""))
        redirect_uri = said.get("redirect_uri", "")
        if client is None or redirect_uri not in client.redirect_uris:
            raise UnknownClient
        optional = (said.get(name, "") for name in ("code_challenge", "scope", "state", "nonce"))
        request = cls(client.client_id, redirect_uri, *optional)
        if said.get("response_type") != "code":
            raise Refused(request, "unsupported_response_type", "response_type has to be code")
        if said.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(request.code_challenge):
            raise Refused(request, "invalid_request", "PKCE is needed: code_challenge, code_challenge_method=S256")
        if "none" in said.get("prompt", "").split(" "):
            raise Refused(request, "login_required", "nobody is logged in here until they have entered their password")
        if not _NONCE.fullmatch(request.nonce):
            raise Refused(request, "invalid_request", "the nonce is too long, or not of visible characters")
        try:
            Asked.parse(request.scope)
        except OAuthError as error:
            raise Refused(request, error.code, error.description) from error
        return request

    @property
    def redirect_origin(self) -> str:
        """Scheme and host of where the person is sent back to."""
        parts = urlsplit(self.redirect_uri)
        return urlunsplit((parts.scheme, parts.netloc, "", "", ""))

    def answer(self, **parameters: str) -> str:
        """The redirect URI with ``parameters``, and the state as it came."""
        parts = urlsplit(self.redirect_uri)
        said = {**parameters, **({"state": self.state} if self.state else {})}
        query = "&".join(part for part in (parts.query, urlencode(said)) if part)
        return urlunsplit(parts._replace(query=query))


class Refused(Exception):
    """A request that the client, which is known, got wrong: the person is sent back to it with the error."""

    def __init__(self, request: AuthorizationRequest, code: str, description: str) -> None:
        super().__init__(description)
        self.request = request
        self.code = code
        self.description = description


@dataclass(frozen=True)
class AuthorizationCode:
    """A code as it is stored: what it is bound to, and not itself."""

    code_hash: bytes
    client_id: str
    redirect_uri: str
    code_challenge: str
    scope: str
    nonce: str
    user_id: str
    expire_time: datetime

    def check(self, client_id: str, redirect_uri: str, verifier: str, now: datetime) -> None:
        """Raise OAuthError unless the code was given to this client, for this URI and verifier, and is still good."""
        bound = (self.client_id, self.redirect_uri) == (client_id, redirect_uri)
        if not bound or now >= self.expire_time or not proves(verifier, self.code_challenge):
            raise invalid_code()


@dataclass(frozen=True)
class Asked:
    """What a client asks a person for."""

    scopes: frozenset[str] | None
    """What its access tokens are to be limited to, ``openid`` too; None when it asks for all that the person may do."""

    @classmethod
    def parse(cls, scope: str) -> "Asked":
        """What a space-separated list asks for. Raises OAuthError for a scope that there is not."""
        names = frozenset(each for each in scope.split(" ") if each)
        scopes_asked(" ".join(names - {OPENID}))
        return cls(names or None)

    @property
    def id_token(self) -> bool:
        """Whether the client wants to know who the person is."""
        return self.scopes is not None and OPENID in self.scopes


def invalid_code() -> OAuthError:
    """The one answer for every code that is no good."""
    return OAuthError("invalid_grant", "the code is not good, or not for this client, redirect_uri and code_verifier")


def hash_of_code(code: str) -> bytes:
    """By which a code is stored. It is random, so that no salt is needed."""
    return hashlib.sha256(code.encode()).digest()


def proves(verifier: str, challenge: str) -> bool:
    """Whether ``challenge`` was made from ``verifier`` by S256."""
    if not _VERIFIER.fullmatch(verifier):
        return False
    digest = hashlib.sha256(verifier.encode()).digest()
    return hmac.compare_digest(base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), challenge)


def scopes_asked(scope: str) -> frozenset[Scope]:
    """The scopes of a space-separated list. Raises OAuthError for one that there is not."""
    try:
        return frozenset(Scope(each) for each in scope.split(" ") if each)
    except ValueError as error:
        known = ", ".join(Scope)
        raise OAuthError("invalid_scope", f"the scopes are {known}") from error
