"""Which certificates the running processes show."""

import asyncio
import ssl
from collections.abc import Mapping

from cryptography import x509

from services.runtime.workload import WorkloadFiles
from services.stack.certificates import EDGE
from services.stack.settings import AUTH_EDGE, SERVICES, StackSettings
from services.stack.state import State
from services.stack.topology import workload_files

_SECONDS = 2.0
DIFFERENT = 0
"""No certificate has this serial number."""


async def serials_in_use(settings: StackSettings, state: State) -> Mapping[str, int]:
    """The serial numbers that services, edge and gateway show now, by name; without those that cannot be asked.

    It is DIFFERENT for a name whose processes do not all show the same.
    """
    files = workload_files(state, "stack")
    servers = [*((name, settings.port(name)) for name in SERVICES), ("auth", settings.port(AUTH_EDGE))]
    servers.append((EDGE, settings.gateway_port))
    asked = [_shown_by(port, files) for _, port in servers]
    answers = await asyncio.gather(*asked, _shown_by_envoy(state), return_exceptions=True)
    shown: dict[str, set[int]] = {}
    for name, answer in zip([*(name for name, _ in servers), "gateway"], answers, strict=True):
        if isinstance(answer, int):
            shown.setdefault(name, set()).add(answer)
    return {name: min(serials) if len(serials) == 1 else DIFFERENT for name, serials in shown.items()}


async def _shown_by(port: int, files: WorkloadFiles) -> int:
    """What a server shows a new connection."""
    context = ssl.create_default_context(cafile=files.trust_bundle)
    context.load_cert_chain(files.certificate, files.private_key)
    context.set_alpn_protocols(["h2"])
    async with asyncio.timeout(_SECONDS):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


async def _shown_by_envoy(state: State) -> int:
    """What Envoy shows the services."""
    import aiohttp  # only here: every command would wait for it

    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    connector = aiohttp.UnixConnector(str(state.sockets / "admin.sock"))
    async with (
        aiohttp.ClientSession("http://envoy", connector=connector, timeout=timeout) as admin,
        admin.get("/certs") as response,
    ):
        said = await response.json(content_type=None)
    for pair in said["certificates"]:
        for each in pair.get("cert_chain", []):
            if any(name.get("uri") == "spiffe://levimesh/gateway" for name in each.get("subject_alt_names", [])):
                return int(each["serial_number"], 16)
    raise LookupError("Envoy does not say what it shows")
