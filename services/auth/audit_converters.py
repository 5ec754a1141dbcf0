"""Between the contract of the audit chain and the domain."""

from levimesh.auth.v1 import audit_pb2, audit_service_pb2
from services.auth.domain.audit import AuditEvent, Link, Outcome, Verdict
from services.auth.ports.audit import AuditFilter
from services.runtime import timestamps

_OUTCOMES = {
    audit_pb2.AUDIT_OUTCOME_DONE: Outcome.DONE,
    audit_pb2.AUDIT_OUTCOME_DENIED: Outcome.DENIED,
    audit_pb2.AUDIT_OUTCOME_FAILED: Outcome.FAILED,
}
_NUMBERS = {str(outcome): number for number, outcome in _OUTCOMES.items()}


def event_from_pb(event: audit_pb2.AuditEvent, service: str) -> AuditEvent:
    """An event that ``service`` has recorded, whatever it says of that itself."""
    return AuditEvent(
        event_id=event.event_id.lower(),
        event_time=timestamps.from_pb(event.event_time),
        service=service,
        action=event.action,
        actor=event.actor,
        session_id=event.session_id,
        address=event.address,
        outcome=_OUTCOMES[event.outcome],
        status=event.status,
        subject=dict(event.subject),
        trace_id=event.trace_id,
    )


def link_to_pb(link: Link) -> audit_pb2.AuditEvent:
    """An event at its place in the chain."""
    event = link.event
    return audit_pb2.AuditEvent(
        sequence=link.sequence,
        event_id=event.event_id,
        event_time=timestamps.to_pb(event.event_time),
        service=event.service,
        action=event.action,
        actor=event.actor,
        session_id=event.session_id,
        address=event.address,
        outcome=_NUMBERS.get(event.outcome, audit_pb2.AUDIT_OUTCOME_UNSPECIFIED),
        status=event.status,
        subject=event.subject,
        trace_id=event.trace_id,
        hash=link.hash.hex(),
    )


def filter_from_pb(request: audit_service_pb2.ListAuditEventsRequest) -> AuditFilter:
    """Which events a request asks for."""
    return AuditFilter(
        start_time=timestamps.from_pb(request.start_time) if request.HasField("start_time") else None,
        end_time=timestamps.from_pb(request.end_time) if request.HasField("end_time") else None,
        actor=request.actor or None,
        action=request.action or None,
        outcome=_OUTCOMES.get(request.outcome),
    )


def verdict_to_pb(verdict: Verdict) -> audit_service_pb2.VerifyAuditChainResponse:
    """What a check of the chain has found."""
    return audit_service_pb2.VerifyAuditChainResponse(
        intact=verdict.intact,
        checked=verdict.checked,
        broken_at=verdict.broken_at,
        problem=verdict.problem,
        head_hash=verdict.head.hex() if verdict.checked else "",
        anchor_time=None if verdict.anchor_time is None else timestamps.to_pb(verdict.anchor_time),
    )
