"""Every certificate is replaced again and again while calls go on, through Envoy and directly: none of them fails."""

import asyncio
import shutil
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from cryptography import x509

from gateway.contracts import SERVICES
from levimesh.client import Client, Profile, Session
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.runtime.channels import open_channel
from services.runtime.workload import WorkloadFiles
from services.stack.certificates import EDGE, Authority
from tests.gateway import Calls, Gateway, recorders, recording, running_gateway
from tests.mesh import Served, a_token, bearing, files_of, serving

ROUNDS = 10
TOKEN = a_token("ROLE_TRADER")
MARKETDATA = pb.DESCRIPTOR.services_by_name["MarketDataService"]
CONNECTION_SECONDS = 0.25
"""So short that every peer connects anew all the time, and shows what it has."""
Handler = Callable[[Any, Any], Awaitable[Any]]


@dataclass
class Witness:
    """Which certificates a server was shown, and by how many calls."""

    serials: Counter[int] = field(default_factory=Counter)

    def watching(self, answer: Handler) -> Handler:
        async def watched(request: Any, context: Any) -> Any:
            (shown,) = context.auth_context()["x509_pem_cert"]
            self.serials[x509.load_pem_x509_certificate(shown).serial_number] += 1
            return await answer(request, context)

        return watched


@dataclass
class Load:
    """Calls that go on until the end, and what became of them."""

    done: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    _over: bool = False

    @asynccontextmanager
    async def of(self, **calls: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._repeat(name, call)) for name, call in calls.items() for _ in range(3)]
        try:
            yield
        finally:
            self._over = True
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _repeat(self, name: str, call: Callable[[], Awaitable[object]]) -> None:
        while not self._over:
            try:
                await call()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, it must not happen
                if not self._over:
                    self.failed.append(f"{name}: {error!r}")
            self.done[name] += 1


@dataclass
class World:
    authority: Authority
    folder: Path
    witness: Witness
    marketdata: Served
    gateway: Gateway
    direct: grpc.aio.Channel

    def serials(self) -> dict[str, int]:
        return {name: each.serial_number for name, each in self.authority.issued().items()}

    @asynccontextmanager
    async def under_load(self) -> AsyncIterator[Load]:
        load = Load()
        stub: Any = pb_grpc.MarketDataServiceStub(self.direct)
        session = Session(TOKEN, time.time() + 3600)
        trusted = str(self.folder / "ca.pem")
        profile = Profile(f"localhost:{self.gateway.settings.tls_port}", trusted, "alice", session=session)
        async with self.gateway.channel() as edge, Client.connect(profile) as client:
            native: Any = pb_grpc.MarketDataServiceStub(edge)
            async with load.of(
                direct=lambda: stub.ListSymbols(pb.ListSymbolsRequest()),
                native=lambda: native.ListSymbols(pb.ListSymbolsRequest(), metadata=bearing(TOKEN)),
                rest=self._rest,
                client=lambda: client.marketdata.ListSymbols(pb.ListSymbolsRequest()),
            ):
                yield load

    async def _rest(self) -> None:
        async with self.gateway.http.get("/v1/symbols", headers={"authorization": f"Bearer {TOKEN}"}) as response:
            assert response.status == 200, await response.text()

    async def everybody_shows(self, serials: dict[str, int]) -> None:
        """Wait until servers, the direct client, and both sides of Envoy show these certificates."""

        async def do() -> bool:
            shown = {
                "marketdata": await shown_by(self.marketdata.port, files_of(self.folder, "stack")),
                EDGE: await shown_by(self.gateway.settings.tls_port, files_of(self.folder, "stack")),
            }
            clients = all(self.witness.serials[serials[name]] for name in ("gateway", "trading"))
            return clients and all(serials[name] == serial for name, serial in shown.items())

        await eventually(do)

    async def everybody_trusts(self, authorities: list[x509.Certificate]) -> None:
        """Wait until Envoy, the one that is told by the kernel and not by its own next look, trusts these."""

        async def does() -> bool:
            return await trusted_by(self.gateway) == {each.serial_number for each in authorities}

        await eventually(does)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    authority = Authority.open(tmp_path, tmp_path / "authority" / "private_key.pem", overlap=timedelta(0))
    authority.renew()
    witness, calls = Witness(), Calls()
    servicer: Any = recording(MARKETDATA, calls, {})
    servicer.ListSymbols = witness.watching(servicer.ListSymbols)
    others = [name for name in SERVICES if name != "marketdata"]
    async with (
        recorders(tmp_path, calls, *others) as servers,
        serving(
            {MARKETDATA: servicer}, tmp_path, workload="marketdata", connection_seconds=CONNECTION_SECONDS
        ) as marketdata,
        running_gateway(
            tmp_path,
            {name: (each.target,) for name, each in {**servers, "marketdata": marketdata}.items()},
            LEVIMESH_RATE_LIMIT_SCALE=0,
        ) as gateway,
        open_channel(MARKETDATA, "marketdata", marketdata.target, files_of(tmp_path, "trading")) as direct,
    ):
        yield World(authority, tmp_path, witness, marketdata, gateway, direct)


async def test_every_certificate_is_replaced_ten_times_under_load_and_no_call_fails(world: World) -> None:
    seen: set[int] = set()
    async with world.under_load() as load:
        for _ in range(ROUNDS):
            world.authority.reissue()
            serials = world.serials()
            await world.everybody_shows(serials)
            assert not seen & set(serials.values())
            seen |= set(serials.values())

    assert load.failed == []
    assert min(load.done[name] for name in ("direct", "native", "rest", "client")) >= ROUNDS


async def test_the_authority_is_replaced_under_load_and_no_call_fails(world: World) -> None:
    old = world.authority.certificate
    old_files = a_copy(files_of(world.folder, "trading"), world.folder / "copy")
    async with world.under_load() as load:
        world.authority.succeed()
        await world.everybody_trusts(world.authority.trusted())
        assert len(world.authority.trusted()) == 2

        assert set(world.authority.renew()) == set(world.authority.issued())
        await world.everybody_shows(world.serials())

    assert load.failed == []
    await eventually(lambda: _become_alone(world.authority))
    await world.everybody_trusts(world.authority.trusted())
    assert old not in world.authority.trusted()
    with pytest.raises(ssl.SSLError):
        await shown_by(world.marketdata.port, old_files)


async def _become_alone(authority: Authority) -> bool:
    authority.renew()
    return not authority.is_changing


def a_copy(files: WorkloadFiles, folder: Path) -> WorkloadFiles:
    """``files`` as they are now, where nobody replaces them."""
    folder.mkdir()
    paths = (files.certificate, files.private_key, files.trust_bundle)
    return WorkloadFiles(*(Path(shutil.copy(path, folder)) for path in paths))


async def shown_by(port: int, files: WorkloadFiles) -> int:
    """The serial number that a server shows a new connection."""
    context = ssl.create_default_context(cafile=files.trust_bundle)
    context.load_cert_chain(files.certificate, files.private_key)
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return x509.load_der_x509_certificate(shown).serial_number


async def trusted_by(gateway: Gateway) -> set[int]:
    """The serial numbers of the authorities by which Envoy checks the services."""
    connector = aiohttp.UnixConnector(str(gateway.settings.admin_socket))
    async with aiohttp.ClientSession("http://envoy", connector=connector) as admin, admin.get("/certs") as response:
        said = await response.json(content_type=None)
    return {int(each["serial_number"], 16) for pair in said["certificates"] for each in pair.get("ca_cert", [])}


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await holds():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.01)
