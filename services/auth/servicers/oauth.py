"""OAuthService: forms and pages in, forms and pages out."""

from collections.abc import Mapping
from typing import Any

import grpc
from google.api import httpbody_pb2

from levimesh.auth.v1 import oauth_service_pb2 as pb
from levimesh.auth.v1 import oauth_service_pb2_grpc as pb_grpc
from services.auth import oauth_converters as convert
from services.auth.domain.oauth import AuthorizationRequest, Client, OAuthError, Refused, UnknownClient
from services.auth.domain.sessions import Origin
from services.auth.errors import CredentialsInvalid, LoginLocked, SecondFactorRequired
from services.auth.pages import login_page, refusal_page
from services.auth.use_cases.oauth import Authorize, GiveTokens
from services.runtime.audit import tell_audit, tell_audit_refused
from services.runtime.errors import MeshError
from services.runtime.identity import current_caller

Context = grpc.aio.ServicerContext[Any, Any]

_NOT_STORED = ("cache-control", "no-store")
_UNKNOWN_CLIENT = "The program that sent you here, or the address it wants you back at, is not one that is known."
_FROM_ELSEWHERE = "Your password came from a page of somebody else. If you typed it there, change it."
_PROBLEMS: Mapping[type[MeshError], tuple[int, str]] = {
    CredentialsInvalid: (401, "The user name, the password or the code is wrong."),
    SecondFactorRequired: (401, "Enter the password again, and the code of your authenticator."),
    LoginLocked: (429, "Too many logins with this name have failed. Try again later."),
}


class OAuthServicer(pb_grpc.OAuthServiceServicer):
    """See the contract."""

    def __init__(
        self, issuer: str, clients: Mapping[str, Client], give_tokens: GiveTokens, authorize: Authorize
    ) -> None:
        self._issuer = issuer
        self._clients = clients
        self._give_tokens = give_tokens
        self._authorize = authorize

    async def GetOpenIdConfiguration(
        self, request: pb.GetOpenIdConfigurationRequest, context: Context
    ) -> pb.GetOpenIdConfigurationResponse:
        return convert.configuration_to_pb(self._issuer)

    async def Token(self, request: pb.TokenRequest, context: Context) -> pb.TokenResponse:
        caller = current_caller()
        try:
            form = convert.form_of(request.form)
            # What the client says of itself; the actor is whoever proves to be somebody.
            tell_audit(client_id=form.get("client_id", ""), grant=form.get("grant_type", ""))
            client = convert.client_of(_headers(context), form)
            granted = await self._give_tokens(form, client, Origin(caller.address, caller.user_agent))
        except OAuthError as error:
            tell_audit_refused(f"UNAUTHENTICATED {error.code}")
            response, headers = convert.refused_to_pb(error)
            await context.send_initial_metadata((*headers, _NOT_STORED))
            return response
        await context.send_initial_metadata((_NOT_STORED, ("pragma", "no-cache")))
        return convert.granted_to_pb(granted)

    async def ShowLogin(self, request: pb.ShowLoginRequest, context: Context) -> pb.ShowLoginResponse:
        body, headers = self._show_login(convert.request_of(request))
        await context.send_initial_metadata((*headers, _NOT_STORED))
        return pb.ShowLoginResponse(body=body)

    async def Authorize(self, request: pb.AuthorizeRequest, context: Context) -> pb.AuthorizeResponse:
        if _headers(context).get("sec-fetch-site") == "cross-site":
            tell_audit_refused("PERMISSION_DENIED cross-site")
            body, headers = convert.page_to_pb(refusal_page(_FROM_ELSEWHERE), 400)
        else:
            body, headers = await self._log_in(request.form)
        await context.send_initial_metadata((*headers, _NOT_STORED))
        return pb.AuthorizeResponse(body=body)

    def _show_login(self, said: Mapping[str, str]) -> tuple[httpbody_pb2.HttpBody, convert.Headers]:
        try:
            return convert.page_to_pb(login_page(AuthorizationRequest.parse(said, self._clients)))
        except UnknownClient:
            return convert.page_to_pb(refusal_page(_UNKNOWN_CLIENT), 400)
        except Refused as error:
            location = error.request.answer(error=error.code, error_description=error.description, iss=self._issuer)
            return convert.redirection_to_pb(location)

    async def _log_in(self, form: httpbody_pb2.HttpBody) -> tuple[httpbody_pb2.HttpBody, convert.Headers]:
        try:
            said = convert.form_of(form)
            request = AuthorizationRequest.parse(said, self._clients)
        except OAuthError as error:
            tell_audit_refused("INVALID_ARGUMENT invalid_request")
            return convert.page_to_pb(refusal_page(f"{error.description.capitalize()}."), 400)
        except (UnknownClient, Refused):
            tell_audit_refused("INVALID_ARGUMENT invalid_request")
            return self._show_login(said)
        username = said.get("username", "")
        tell_audit(actor=username, client_id=request.client_id)
        try:
            code = await self._authorize(request, username, said.get("password", ""), said.get("second_factor", ""))
        except (CredentialsInvalid, SecondFactorRequired, LoginLocked) as error:
            tell_audit_refused(f"{error.status} ERROR_REASON_{error.reason}")
            status, problem = _PROBLEMS[type(error)]
            body, headers = convert.page_to_pb(login_page(request, username=username, problem=problem), status)
            return body, (*headers, *convert.retry_after(error))
        return convert.redirection_to_pb(request.answer(code=code, iss=self._issuer))


def _headers(context: Context) -> dict[str, str | bytes]:
    return dict(context.invocation_metadata() or ())
