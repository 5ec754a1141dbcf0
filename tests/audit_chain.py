"""The audit chain, served, and what is done with it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import audit_pb2
from levimesh.auth.v1 import audit_service_pb2 as pb
from levimesh.auth.v1 import audit_service_pb2_grpc as pb_grpc
from services.auth.auditing import Auditing, build_auditing
from services.runtime import timestamps
from services.runtime.clock import utc_now
from services.runtime.database import open_database
from tests.auth import auth_settings
from tests.mesh import Served, a_token, bearing, serving

if TYPE_CHECKING:
    from levimesh.auth.v1.audit_service_pb2_grpc import AuditServiceAsyncStub

SERVICE = pb.DESCRIPTOR.services_by_name["AuditService"]
ADMIN_TOKEN = bearing(a_token("ROLE_ADMIN"))
NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


def an_event(number: int = 0, **fields: Any) -> audit_pb2.AuditEvent:
    """An event as a service sends it."""
    said: dict[str, Any] = {
        "event_id": str(uuid4()),
        "event_time": timestamps.to_pb(NOON + timedelta(seconds=number)),
        "action": "/levimesh.trading.v1.TradingService/SubmitOrder",
        "actor": "ann",
        "session_id": "s-1",
        "address": "203.0.113.9",
        "outcome": audit_pb2.AUDIT_OUTCOME_DONE,
        "status": "OK",
        "subject": {"client_order_id": f"order-{number}", "symbol": "BTC-USDT@simex"},
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
    }
    return audit_pb2.AuditEvent(**{**said, **fields})


@dataclass(frozen=True)
class ServedChain:
    """AuditService on a database of its own."""

    url: str
    engine: AsyncEngine
    auditing: Auditing
    anchor_file: Path
    served: Served

    def stub(self, workload: str = "gateway") -> "AuditServiceAsyncStub":
        """A stub that calls as ``workload``."""
        return pb_grpc.AuditServiceStub(self.served.channel(SERVICE, workload))

    async def append(self, *events: audit_pb2.AuditEvent, workload: str = "trading") -> None:
        """What ``workload`` sends."""
        await self.stub(workload).AppendAuditEvents(pb.AppendAuditEventsRequest(events=events))

    async def page(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        """What an admin is shown."""
        response: pb.ListAuditEventsResponse = await self.stub().ListAuditEvents(request, metadata=ADMIN_TOKEN)
        return response

    async def listed(self, **request: Any) -> Sequence[audit_pb2.AuditEvent]:
        """The events of one page."""
        return (await self.page(pb.ListAuditEventsRequest(**request))).events

    async def verified(self) -> pb.VerifyAuditChainResponse:
        """What a check finds."""
        request = pb.VerifyAuditChainRequest()
        response: pb.VerifyAuditChainResponse = await self.stub().VerifyAuditChain(request, metadata=ADMIN_TOKEN)
        return response

    async def anchor(self) -> None:
        """Do what is done every minute: it anchors at once, and once more when it is stopped."""
        task = asyncio.ensure_future(self.auditing.background["audit anchors"]())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def running_chain(url: str, certificates: Path, folder: Path) -> AsyncIterator[ServedChain]:
    """The chain in the database of ``url``, anchored in ``folder``."""
    anchor_file = folder / "anchors.jsonl"
    async with open_database(SecretStr(url)) as engine:
        auditing = build_auditing(auth_settings(url, audit_anchor_file=anchor_file), engine, utc_now)
        async with serving({SERVICE: auditing.servicer}, certificates, workload="auth") as served:
            yield ServedChain(url, engine, auditing, anchor_file, served)
