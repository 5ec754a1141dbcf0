"""AuditService: wire in, wire out."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from levimesh.auth.v1 import audit_service_pb2 as pb
from levimesh.auth.v1 import audit_service_pb2_grpc as pb_grpc
from services.auth import audit_converters as convert
from services.auth.domain.audit import AuditEvent
from services.auth.use_cases.audit import ListAuditEvents, VerifyAuditChain
from services.runtime.identity import current_caller
from services.runtime.pagination import decode_number, encode_page_token

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100


class AuditServicer(pb_grpc.AuditServiceServicer):
    """See the contract."""

    def __init__(
        self,
        append: Callable[[Sequence[AuditEvent]], Awaitable[None]],
        list_events: ListAuditEvents,
        verify_chain: VerifyAuditChain,
    ) -> None:
        self._append = append
        self._list_events = list_events
        self._verify_chain = verify_chain

    async def AppendAuditEvents(
        self, request: pb.AppendAuditEventsRequest, context: Context
    ) -> pb.AppendAuditEventsResponse:
        service = current_caller().workload
        await self._append([convert.event_from_pb(event, service) for event in request.events])
        return pb.AppendAuditEventsResponse()

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest, context: Context) -> pb.ListAuditEventsResponse:
        before = decode_number(request.page_token, request)
        links, go_on_before = await self._list_events(
            convert.filter_from_pb(request), before, request.page_size or _PAGE_SIZE
        )
        return pb.ListAuditEventsResponse(
            events=map(convert.link_to_pb, links),
            next_page_token=encode_page_token([str(go_on_before)], request) if go_on_before else "",
        )

    async def VerifyAuditChain(
        self, request: pb.VerifyAuditChainRequest, context: Context
    ) -> pb.VerifyAuditChainResponse:
        return convert.verdict_to_pb(await self._verify_chain())
