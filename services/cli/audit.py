"""``levimesh audit``: what was done, and tried, by whom."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from levimesh.auth.v1 import audit_pb2
from levimesh.auth.v1 import audit_service_pb2 as pb
from levimesh.client import Client
from services.cli.display import console, record, show, table, when
from services.cli.parameters import Json, Limit, moment
from services.cli.session import fail, print_json, run

app = typer.Typer()
audit = typer.Typer(name="audit", help="The chain of what was done, and tried (admins only).", no_args_is_help=True)
app.add_typer(audit)

_COLORS = {"denied": "yellow", "failed": "red"}


class Outcome(StrEnum):
    """An outcome as the command line spells it."""

    done = "done"
    denied = "denied"
    failed = "failed"

    @property
    def wire(self) -> "audit_pb2.AuditOutcome.ValueType":
        """As the contracts spell it."""
        return audit_pb2.AuditOutcome.Value(f"AUDIT_OUTCOME_{self.upper()}")


@audit.command(name="list")
def list_events(
    actor: Annotated[str, typer.Option(help="Only by this user id, tried name or workload.")] = "",
    action: Annotated[str, typer.Option(help="Only this: the path of a method, or an event of auth.")] = "",
    outcome: Annotated[Outcome | None, typer.Option(help="Only with this outcome.")] = None,
    since: Annotated[str | None, typer.Option(help="From this time on, such as 2024-08-08T12:00 (UTC).")] = None,
    until: Annotated[str | None, typer.Option(help="Before this time.")] = None,
    limit: Limit = 50,
    *,
    json: Json = False,
) -> None:
    """List what was done, the newest last."""
    request = pb.ListAuditEventsRequest(page_size=limit, actor=actor, action=action)
    if outcome is not None:
        request.outcome = outcome.wire
    if since is not None:
        request.start_time.CopyFrom(moment("--since", since))
    if until is not None:
        request.end_time.CopyFrom(moment("--until", until))

    async def command(mesh: Client) -> None:
        response = await mesh.audit.ListAuditEvents(request)
        if json:
            print_json(response)
        else:
            _show(reversed(response.events))

    run(command)


@audit.command()
def verify(*, json: Json = False) -> None:
    """Compute the whole chain again, and say where it is broken. Ends with status 1 when it is."""

    async def command(mesh: Client) -> None:
        response = await mesh.audit.VerifyAuditChain(pb.VerifyAuditChainRequest())
        if json:
            print_json(response)
            raise typer.Exit(0 if response.intact else 1)
        if not response.intact:
            fail(f"the audit chain is broken at event {response.broken_at}: {response.problem}")
        anchored = when(response.anchor_time)
        console.print(f"the audit chain is intact: {response.checked} events", style="green")
        show(
            record(("newest hash", response.head_hash), ("anchored (UTC)", anchored or "nowhere outside the database"))
        )

    run(command)


def _show(events: "Iterable[audit_pb2.AuditEvent]") -> None:
    rows = table("Audit events", "#", "time (UTC)", "outcome", "actor", "what", "on", "from", "status", shrinking="on")
    for event in events:
        outcome = audit_pb2.AuditOutcome.Name(event.outcome).removeprefix("AUDIT_OUTCOME_").lower()
        rows.add_row(
            str(event.sequence),
            when(event.event_time),
            Text(outcome, style=_COLORS.get(outcome, "")),
            event.actor,
            event.action.rsplit("/", 1)[-1],
            ", ".join(f"{name}={value}" for name, value in sorted(event.subject.items())),
            event.address,
            "" if event.status == "OK" else event.status.replace("ERROR_REASON_", ""),
        )
    show(rows)
