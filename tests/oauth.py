"""The OAuth endpoints of a running auth service, as the gateway passes them on."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from google.api import httpbody_pb2

from levimesh.auth.v1 import oauth_service_pb2 as pb
from levimesh.auth.v1 import oauth_service_pb2_grpc as pb_grpc
from tests.auth import ADMIN, ADMIN_PASSWORD, RunningAuth

if TYPE_CHECKING:
    from levimesh.auth.v1.oauth_service_pb2_grpc import OAuthServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["OAuthService"]
FORM = "application/x-www-form-urlencoded"
CALLBACK = "https://app.example.com/callback?from=levimesh"
CLIENTS = {"web": [CALLBACK], "desk": ["http://127.0.0.1/desk"]}
VERIFIER = "v" * 43
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
REQUEST = {
    "response_type": "code",
    "client_id": "web",
    "redirect_uri": CALLBACK,
    "state": "<state>&",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    headers: Mapping[str, str]
    """Those that were sent with it."""
    content_type: str
    text: str

    @property
    def status(self) -> int:
        """The HTTP status that it has at the gateway."""
        return int(self.headers.get("x-levimesh-http-status", "200"))

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def location(self) -> dict[str, str]:
        """The parameters with which the browser is sent away, and where to (``to``)."""
        parts = urlsplit(self.headers["location"])
        return {"to": f"{parts.scheme}://{parts.netloc}{parts.path}", **dict(parse_qsl(parts.query))}


@dataclass(frozen=True)
class OAuth:
    """The endpoints."""

    running: RunningAuth
    stub: "OAuthServiceAsyncStub"

    @classmethod
    def of(cls, running: RunningAuth) -> "OAuth":
        return cls(running, pb_grpc.OAuthServiceStub(running.served.channel(SERVICE)))

    async def token(self, *metadata: tuple[str, str], content_type: str = FORM, data: str = "", **form: str) -> Answer:
        body = httpbody_pb2.HttpBody(content_type=content_type, data=(data or urlencode(form)).encode())
        call = self.stub.Token(pb.TokenRequest(form=body), metadata=metadata)
        return await _answer(call)

    async def show_login(self, **changes: str) -> Answer:
        return await _answer(self.stub.ShowLogin(pb.ShowLoginRequest(**{**REQUEST, **changes})))

    async def log_in(
        self, username: str = ADMIN, password: str = ADMIN_PASSWORD, *metadata: tuple[str, str], **changes: str
    ) -> Answer:
        form = {**REQUEST, "username": username, "password": password, **changes}
        body = httpbody_pb2.HttpBody(content_type=FORM, data=urlencode(form).encode())
        return await _answer(self.stub.Authorize(pb.AuthorizeRequest(form=body), metadata=metadata))

    async def a_code(self, **changes: str) -> str:
        """A code for a fresh login of the admin."""
        return (await self.log_in(**changes)).location["code"]

    async def exchange(self, code: str, **changes: str) -> Answer:
        form = {"client_id": "web", "redirect_uri": CALLBACK, "code": code, "code_verifier": VERIFIER, **changes}
        return await self.token(grant_type="authorization_code", **form)

    async def refresh(self, refresh_token: str, **more: str) -> Answer:
        return await self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)


def basic(name: str, secret: str) -> tuple[str, str]:
    """The header by which a client proves itself."""
    return ("authorization", f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}")


async def _answer(call: Any) -> Answer:
    response = await call
    headers = {str(name): str(value) for name, value in await call.initial_metadata()}
    return Answer(headers, response.body.content_type, response.body.data.decode())
