"""A TLS server like the gateway, as a client from outside sees it. What it answers is chosen by each test.

It serves from threads of its own, so it also answers a command that runs an event loop of its own.
"""

import base64
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.duration_pb2 import Duration

from levimesh.auth.v1 import auth_service_pb2, oauth_service_pb2
from levimesh.client import Profile
from levimesh.client.client import SERVICES
from levimesh.policy.v1 import policy_pb2
from services.runtime.errors import MeshError
from services.runtime.identity import TokenMissing
from services.runtime.statuses import STATUS_DETAILS, to_status
from services.runtime.tokens import SessionEnded, TokenExpired, TokenInvalid

PASSWORD = "correct horse battery"


class Aborted(Exception):
    """An answer with this status and no details, as what is not of the mesh gives it."""

    def __init__(self, code: grpc.StatusCode, details: str = "") -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details


@dataclass(frozen=True)
class Call:
    """What reached the server."""

    method: str
    request: Any
    token: str
    seconds_left: float | None
    ended: threading.Event
    """Set when the call is over, even if its answer still works on it."""


@dataclass
class Edge:
    """The server. A login as ``alice`` succeeds and gives the access token ``token-1`` and the refresh token
    ``next-1``; the exchange of that, or another login, ``token-2`` and ``next-2``, and so on.
    """

    certificates: Path
    port: int = 0
    answers: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    """Method name: request to response, or to an iterator of responses; it may raise a MeshError or Aborted."""
    calls: list[Call] = field(default_factory=list)
    issued: list[str] = field(default_factory=list)
    expired: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    """Access tokens of sessions that were ended."""
    refreshable: set[str] = field(default_factory=set)
    """Refresh tokens that were not used yet."""
    exchanges: dict[str, tuple[str, auth_service_pb2.RefreshSessionResponse]] = field(default_factory=dict)
    """By the refresh token that was used: the request id, and what it was answered."""
    code: str = ""
    """What a login needs as its second factor."""
    api_keys: set[str] = field(default_factory=set)
    token_life: int = 300
    stopped: threading.Event = field(default_factory=threading.Event)
    """Set while nothing is served; an answer that is to be broken off waits for it."""
    _server: grpc.Server | None = None

    def start(self) -> None:
        """Serve, on the port of the last time, unless it does already."""
        if self._server is not None:
            return
        self.stopped.clear()
        folder = self.certificates / "edge"
        pair = ((folder / "private_key.pem").read_bytes(), (folder / "certificate.pem").read_bytes())
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        for service in SERVICES:
            handlers = {method.name: self._handler(service, method) for method in service.methods}
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, handlers),))
        self.port = self._server.add_secure_port(f"127.0.0.1:{self.port}", grpc.ssl_server_credentials([pair]))
        self._server.start()

    def stop(self) -> None:
        """Break every call off, and serve no more."""
        if self._server is not None:
            server, self._server = self._server, None
            end = server.stop(0)
            self.stopped.set()
            end.wait()

    @property
    def profile(self) -> Profile:
        """Alice, who knows her password."""
        return Profile(f"127.0.0.1:{self.port}", str(self.certificates / "ca.pem"), "alice", PASSWORD)

    def called(self, method: str) -> list[Call]:
        """The calls of ``method``."""
        return [call for call in self.calls if call.method == method]

    def _handler(self, service: ServiceDescriptor, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
        request_type = message_factory.GetMessageClass(method.input_type)
        is_public = method.GetOptions().Extensions[policy_pb2.method].public

        def unary(request: Any, context: Any) -> Any:
            with _errors_told(context):
                return self._answer(method.name, is_public, request, context)

        def stream(request: Any, context: Any) -> Iterator[Any]:
            with _errors_told(context):
                yield from self._answer(method.name, is_public, request, context)

        serialize = message_factory.GetMessageClass(method.output_type).SerializeToString
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, request_type.FromString, serialize)
        return grpc.unary_unary_rpc_method_handler(unary, request_type.FromString, serialize)

    def _answer(self, method: str, is_public: bool, request: Any, context: Any) -> Any:
        token = dict(context.invocation_metadata()).get("authorization", "").removeprefix("Bearer ")
        call = Call(method, request, token, context.time_remaining(), threading.Event())
        context.add_callback(call.ended.set)
        self.calls.append(call)
        if not is_public:
            self._check(token)
        if method in self.answers:
            return self.answers[method](request)
        match method:
            case "Login":
                return self._log_in(request)
            case "RefreshSession":
                return self.refresh(request)
            case "Token":
                return self._exchange(token)
            case "Logout":
                self.ended.add(token)
                return auth_service_pb2.LogoutResponse()
        raise Aborted(grpc.StatusCode.UNIMPLEMENTED, f"the test has no answer for {method}")

    def _check(self, token: str) -> None:
        if not token:
            raise TokenMissing("log in")
        if token in self.expired:
            raise TokenExpired("the access token has expired; log in again")
        if token in self.ended:
            raise SessionEnded("the session has ended; log in again")
        if token not in self.issued:
            raise TokenInvalid("the access token is not one of this mesh; log in again")

    def _log_in(self, request: auth_service_pb2.LoginRequest) -> auth_service_pb2.LoginResponse:
        if (request.username, request.password) != ("alice", PASSWORD):
            raise a_refusal("UNAUTHENTICATED", "CREDENTIALS_INVALID", "the user name or the password is wrong")
        if request.second_factor != self.code:
            reason = "CREDENTIALS_INVALID" if request.second_factor else "SECOND_FACTOR_REQUIRED"
            raise a_refusal("UNAUTHENTICATED", reason, "send the code of the second factor too")
        return auth_service_pb2.LoginResponse(**self._next_tokens())

    def refresh(self, request: auth_service_pb2.RefreshSessionRequest) -> auth_service_pb2.RefreshSessionResponse:
        """As RefreshSession does it; for answers that are more than that."""
        if request.refresh_token in self.exchanges:
            request_id, response = self.exchanges[request.refresh_token]
            if request_id == request.request_id:
                return response
            self.refreshable.clear()
            raise a_refusal("UNAUTHENTICATED", "REFRESH_TOKEN_REUSED", "the refresh token was used before")
        if request.refresh_token not in self.refreshable:
            raise a_refusal("UNAUTHENTICATED", "REFRESH_TOKEN_INVALID", "the session has ended; log in again")
        self.refreshable.remove(request.refresh_token)
        response = auth_service_pb2.RefreshSessionResponse(**self._next_tokens())
        self.exchanges[request.refresh_token] = request.request_id, response
        return response

    def _exchange(self, authorization: str) -> oauth_service_pb2.TokenResponse:
        scheme, _, proof = authorization.partition(" ")
        client_id, _, key = base64.b64decode(proof).decode().partition(":")
        answer: dict[str, Any] = {"error": "invalid_client", "error_description": "the API key was revoked"}
        if (scheme, client_id) == ("Basic", key[:11]) and key in self.api_keys:
            tokens = self._next_tokens()
            answer = {"access_token": tokens["access_token"], "token_type": "Bearer", "expires_in": self.token_life}
        body = HttpBody(content_type="application/json", data=json.dumps(answer).encode())
        return oauth_service_pb2.TokenResponse(body=body)

    def _next_tokens(self) -> dict[str, Any]:
        number = len(self.issued) + 1
        self.issued.append(f"token-{number}")
        self.refreshable.add(f"next-{number}")
        return {
            "access_token": self.issued[-1],
            "token_type": "Bearer",
            "expires_in": Duration(seconds=self.token_life),
            "refresh_token": f"next-{number}",
        }


def a_refusal(status: str, reason: str, message: str, retry_after: float | None = None) -> MeshError:
    """An error of the mesh, to be raised by an answer."""
    refusal: MeshError = type("Refusal", (MeshError,), {"status": status, "reason": reason})(message)
    refusal.retry_after = retry_after
    return refusal


@contextmanager
def running_edge(certificates: Path) -> Iterator[Edge]:
    """An Edge that serves on a free port."""
    edge = Edge(certificates)
    edge.start()
    try:
        yield edge
    finally:
        edge.stop()


@contextmanager
def _errors_told(context: Any) -> Iterator[None]:
    try:
        yield
    except Aborted as error:
        context.abort(error.code, error.details)
    except MeshError as error:
        context.set_trailing_metadata(((STATUS_DETAILS, to_status(error).SerializeToString()),))
        context.abort(grpc.StatusCode[error.status], str(error))
