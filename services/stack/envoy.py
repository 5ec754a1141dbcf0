"""Envoy from its wheel, as the gateway."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

from gateway.render import write
from gateway.settings import GatewaySettings
from services.stack.certificates import EDGE
from services.stack.checks import NotReady, check_http, request_http
from services.stack.settings import AUTH_EDGE, SERVICES, StackSettings
from services.stack.state import State
from services.stack.wheels import wheel_folder

_WORKERS = 2
_DRAIN_SECONDS = 1.0


@dataclass(frozen=True)
class Gateway:
    """The gateway of the stack, configured in ``folder``."""

    settings: GatewaySettings
    folder: Path

    @classmethod
    def of(cls, settings: StackSettings, state: State) -> "Gateway":
        """The gateway in front of the stack's services."""
        edge, own = state.certificates / EDGE, state.certificates / "gateway"
        gateway = GatewaySettings(
            tls_port=settings.gateway_port,
            plain_port=settings.gateway_plain_port,
            socket_folder=state.sockets,
            edge_certificate=edge / "certificate.pem",
            edge_private_key=edge / "private_key.pem",
            tls_certificate=own / "certificate.pem",
            tls_private_key=own / "private_key.pem",
            tls_trust_bundle=state.certificates / "ca.pem",
            endpoints={service: (settings.target(service),) for service in (*SERVICES, AUTH_EDGE)},
            token_issuer=settings.issuer,
        )
        return cls(gateway, state.path / "gateway")

    @property
    def command(self) -> list[str]:
        """How Envoy runs in the foreground. The base id is dynamic, so that several stacks fit on a machine."""
        program = wheel_folder("envoy") / "_bin" / "envoy"
        return [
            *(str(program), "-c", str(self.folder / "envoy.json"), "--use-dynamic-base-id"),
            *("--concurrency", str(_WORKERS), "--log-level", "warning"),
        ]

    async def prepare(self) -> None:
        """Render the configuration."""
        write(self.settings, self.folder)

    async def ready(self) -> None:
        """Raise unless Envoy is live, and has seen every service healthy."""
        await check_http("/ready", socket=self.settings.admin_socket)
        if await request_http("GET", "/health", port=self.settings.plain_port) != 200:
            raise NotReady("not every service behind it is healthy")

    async def drain(self) -> None:
        """Take no new connections, and let what is in flight end."""
        await request_http("POST", "/healthcheck/fail", socket=self.settings.admin_socket)
        await request_http("POST", "/drain_listeners?graceful", socket=self.settings.admin_socket)
        await asyncio.sleep(_DRAIN_SECONDS)
