"""ApiKeyService: wire in, wire out."""

from dataclasses import dataclass
from typing import Any

import grpc

from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.auth.v1 import api_key_service_pb2_grpc as pb_grpc
from services.auth import converters
from services.auth import edge_converters as convert
from services.auth.domain.users import Role
from services.auth.session_converters import position_from
from services.auth.use_cases.api_keys import CreateApiKey, ListApiKeys, RevokeApiKey, RotateApiKey
from services.runtime.audit import tell_audit
from services.runtime.identity import current_user
from services.runtime.pagination import decode_page_token, encode_page_token

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100


@dataclass(frozen=True)
class ApiKeyUseCases:
    """What ApiKeyService can do."""

    create: CreateApiKey
    list: ListApiKeys
    rotate: RotateApiKey
    revoke: RevokeApiKey


class ApiKeyServicer(pb_grpc.ApiKeyServiceServicer):
    """See the contract."""

    def __init__(self, use_cases: ApiKeyUseCases) -> None:
        self._do = use_cases

    async def CreateApiKey(self, request: pb.CreateApiKeyRequest, context: Context) -> pb.CreateApiKeyResponse:
        key, secret = await self._do.create(
            current_user().user_id,
            request.name,
            convert.scopes_from_pb(request.scopes),
            request.allowed_networks,
            converters.tier_from_pb(request.rate_tier),
            request.lifetime.ToTimedelta() if request.HasField("lifetime") else None,
        )
        tell_audit(key_id=key.key_id)
        return pb.CreateApiKeyResponse(api_key=convert.api_key_to_pb(key), secret=secret)

    async def ListApiKeys(self, request: pb.ListApiKeysRequest, context: Context) -> pb.ListApiKeysResponse:
        size = request.page_size or _PAGE_SIZE
        after = position_from(decode_page_token(request.page_token, request)) if request.page_token else None
        keys, go_on = await self._do.list(current_user().user_id, after, size)
        return pb.ListApiKeysResponse(
            api_keys=map(convert.api_key_to_pb, keys),
            next_page_token="" if go_on is None else encode_page_token([go_on[0].isoformat(), go_on[1]], request),
        )

    async def RotateApiKey(self, request: pb.RotateApiKeyRequest, context: Context) -> pb.RotateApiKeyResponse:
        key, secret = await self._do.rotate(current_user().user_id, request.key_id, request.overlap.ToTimedelta())
        return pb.RotateApiKeyResponse(api_key=convert.api_key_to_pb(key), secret=secret)

    async def RevokeApiKey(self, request: pb.RevokeApiKeyRequest, context: Context) -> pb.RevokeApiKeyResponse:
        caller = current_user()
        await self._do.revoke(request.key_id, None if Role.ADMIN in caller.roles else caller.user_id)
        return pb.RevokeApiKeyResponse()
