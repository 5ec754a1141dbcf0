"""Puts the parts together that have to do with the audit chain."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from sqlalchemy.ext.asyncio import AsyncEngine

from levimesh.auth.v1 import audit_pb2
from services.auth import audit_converters as convert
from services.auth.adapters.audit import SqlAuditChain
from services.auth.adapters.audit_anchors import AnchorFile, NoAnchors
from services.auth.ports.audit import Anchors
from services.auth.servicers.audit import AuditServicer
from services.auth.settings import AuthSettings
from services.auth.use_cases.audit import AnchorAuditChain, ListAuditEvents, VerifyAuditChain
from services.runtime.audit_outbox import Append
from services.runtime.clock import Clock

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Auditing:
    """The audit chain, ready to be served."""

    servicer: AuditServicer
    append_own: Append
    """Puts into the chain what auth itself has recorded."""
    background: Mapping[str, Callable[[], Awaitable[None]]]
    """What goes on beside it."""


def build_auditing(settings: AuthSettings, engine: AsyncEngine, now: Clock) -> Auditing:
    """The chain in the database behind ``engine``."""
    chain, anchors = SqlAuditChain(engine), _anchors(settings)
    anchor = AnchorAuditChain(chain, anchors, now)

    async def append_own(events: Sequence[audit_pb2.AuditEvent]) -> None:
        await chain.append([convert.event_from_pb(event, "auth") for event in events])

    return Auditing(
        AuditServicer(chain.append, ListAuditEvents(chain), VerifyAuditChain(chain, anchors)),
        append_own,
        {"audit anchors": partial(_keep_anchored, anchor, settings.audit_anchor_seconds)},
    )


def _anchors(settings: AuthSettings) -> Anchors:
    if settings.audit_anchor_file is None:
        _log.warning("the audit chain is not anchored: AUTH_AUDIT_ANCHOR_FILE is not set")
        return NoAnchors()
    return AnchorFile(settings.audit_anchor_file)


async def _keep_anchored(anchor: AnchorAuditChain, every: float) -> None:
    try:
        while True:
            await anchor()
            await asyncio.sleep(every)
    except asyncio.CancelledError:
        await anchor()
        raise
