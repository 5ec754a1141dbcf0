"""What clients see when something behind the gateway fails, and that certificates change without a restart."""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import ServiceDescriptor

from gateway.contracts import SERVICES
from levimesh.foreign.envoy.service.ratelimit.v3 import rls_pb2
from services.runtime.clock import utc_now
from services.runtime.errors import DependencyUnavailable
from services.stack.certificates import Authority
from tests.gateway import Calls, Gateway, recorders, recording, running_gateway
from tests.mesh import Served, a_token, serving

WITHIN = 10.0
TRADER = {"authorization": f"Bearer {a_token('ROLE_TRADER')}"}
ADMIN = {"authorization": f"Bearer {a_token('ROLE_ADMIN')}"}
AN_ORDER = {
    "client_order_id": "an-order",
    "symbol": "BTC-USDT@simex",
    "side": "SIDE_BUY",
    "type": "ORDER_TYPE_MARKET",
    "quantity": {"value": "1"},
}
STRANGER = {"authorization": f"Bearer {a_token('ROLE_ADMIN', key=Ed25519PrivateKey.generate())}"}


def endpoints_of(servers: dict[str, Served]) -> dict[str, tuple[str, ...]]:
    return {workload: (served.target,) for workload, served in servers.items()}


async def answer(gateway: Gateway, method: str, path: str, **arguments: Any) -> tuple[int, dict[str, Any]]:
    async with gateway.http.request(method, path, **arguments) as response:
        return response.status, json.loads(await response.read())


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WITHIN):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.05)


async def listening(http: aiohttp.ClientSession) -> bool:
    async with http.get("/"):
        return True


async def test_a_dead_service_is_told_at_once_and_the_others_go_on(certificates: Path) -> None:
    calls = Calls()
    async with AsyncExitStack() as dying, recorders(certificates, calls, "auth", "prediction", "trading") as servers:
        market = await dying.enter_async_context(recorders(certificates, calls, "marketdata"))
        async with running_gateway(certificates, endpoints_of(servers | market)) as gateway:
            await dying.aclose()

            status, body = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)

            async def noticed() -> bool:
                return (await answer(gateway, "GET", "/health"))[0] == 503

            await eventually(noticed)
            assert (await answer(gateway, "GET", "/health"))[1]["code"] == 14
            assert (await answer(gateway, "GET", "/v1/orders", headers=TRADER))[0] == 200

    assert (status, body["code"]) == (503, 14)
    assert body["details"][0]["reason"] == "ERROR_REASON_DEPENDENCY_UNAVAILABLE"
    assert body["details"][1] == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retry_delay": "1s"}


async def test_orders_are_counted_by_auths_worker_and_while_that_is_away_by_auth(certificates: Path) -> None:
    asked: list[str] = []

    def counted_by(who: str) -> Callable[[object], Awaitable[rls_pb2.RateLimitResponse]]:
        async def allow(_: object) -> rls_pb2.RateLimitResponse:
            asked.append(who)
            return rls_pb2.RateLimitResponse(overall_code=rls_pb2.RateLimitResponse.OK)

        return allow

    calls = Calls()
    async with (
        AsyncExitStack() as dying,
        recorders(certificates, calls, *SERVICES, ShouldRateLimit=counted_by("auth")) as servers,
    ):
        worker = recorders(certificates, calls, "auth", ShouldRateLimit=counted_by("worker"))
        workers = {"auth-edge": ((await dying.enter_async_context(worker))["auth"].target,)}
        async with running_gateway(certificates, {**endpoints_of(servers), **workers}) as gateway:

            async def submitted() -> bool:
                return (await answer(gateway, "POST", "/v1/orders", headers=TRADER, json=AN_ORDER))[0] == 200

            await eventually(submitted)
            before = set(asked)
            await dying.aclose()
            await eventually(submitted)

    assert before == {"worker"}
    assert asked[-1] == "auth"


async def test_tokens_are_still_checked_while_auth_is_away(certificates: Path) -> None:
    calls = Calls()
    async with (
        AsyncExitStack() as dying,
        recorders(certificates, calls, "marketdata", "prediction", "trading") as servers,
    ):
        auth = await dying.enter_async_context(recorders(certificates, calls, "auth"))
        async with running_gateway(certificates, endpoints_of(servers | auth)) as gateway:
            await dying.aclose()

            good, _ = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)
            bad, _ = await answer(gateway, "GET", "/v1/symbols", headers=STRANGER)

    assert (good, bad) == (200, 401)


async def test_without_keys_a_token_is_neither_taken_nor_called_wrong(certificates: Path) -> None:
    async def no_keys(_: object) -> None:
        raise DependencyUnavailable("the database is away", part="database")

    async def everything_is_up(http: aiohttp.ClientSession) -> bool:
        async with http.get("/health") as response:
            return response.status == 200

    calls = Calls()
    async with (
        recorders(certificates, calls, *SERVICES, GetJwks=no_keys) as servers,
        running_gateway(certificates, endpoints_of(servers), ready=everything_is_up) as gateway,
    ):
        status, body = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)

    assert (status, body["details"][0]["reason"]) == (503, "ERROR_REASON_DEPENDENCY_UNAVAILABLE")
    assert calls.methods == []


async def test_a_replica_that_dies_costs_no_call(certificates: Path) -> None:
    calls = Calls()
    async with AsyncExitStack() as dying, recorders(certificates, calls, *SERVICES) as servers:
        second = await dying.enter_async_context(recorders(certificates, calls, "marketdata"))
        both = (servers["marketdata"].target, second["marketdata"].target)
        async with running_gateway(certificates, {**endpoints_of(servers), "marketdata": both}) as gateway:
            statuses = []
            for number in range(200):
                if number == 50:
                    await dying.aclose()
                statuses.append((await answer(gateway, "GET", "/v1/symbols", headers=TRADER))[0])

    assert set(statuses) == {200}


async def test_only_what_may_be_repeated_is_sent_again(certificates: Path) -> None:
    async def away(_: object) -> None:
        raise DependencyUnavailable("the database is away", part="database")

    calls = Calls()
    new_user = {"username": "ann", "password": "a long password", "roles": ["ROLE_TRADER"]}
    async with (
        recorders(certificates, calls, *SERVICES, ListSymbols=away, CreateUser=away) as servers,
        running_gateway(certificates, endpoints_of(servers)) as gateway,
    ):
        read, body = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)
        write, _ = await answer(gateway, "POST", "/v1/users", headers=ADMIN, json=new_user)

    assert (read, write) == (503, 503)
    assert body["message"] == "the database is away"
    assert calls.methods == ["ListSymbols"] * 3 + ["CreateUser"]


async def test_a_service_that_hangs_is_cut_after_its_deadline(certificates: Path) -> None:
    async def hang(_: object) -> None:
        # Deaf to the service's own deadline, as a blocked thread would be: only the gateway ends this.
        try:
            await asyncio.sleep(WITHIN)
        except asyncio.CancelledError:
            await asyncio.sleep(WITHIN)

    async with (
        recorders(certificates, Calls(), *SERVICES, ListSymbols=hang) as servers,
        running_gateway(certificates, endpoints_of(servers)) as gateway,
    ):
        status, body = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)

    assert (status, body["code"]) == (504, 4)


async def test_another_workload_is_not_taken_for_a_service(certificates: Path) -> None:
    calls = Calls()
    impostor: dict[ServiceDescriptor, object] = {found: recording(found, calls, {}) for found in SERVICES["marketdata"]}
    async with (
        recorders(certificates, calls, "auth", "prediction", "trading") as servers,
        serving(impostor, certificates, workload="trading") as served,
        running_gateway(
            certificates, {**endpoints_of(servers), "marketdata": (served.target,)}, ready=listening
        ) as gateway,
    ):

        async def the_true_ones_answer() -> bool:
            return (await answer(gateway, "GET", "/v1/orders", headers=TRADER))[0] == 200

        await eventually(the_true_ones_answer)
        status, _ = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)

    assert status == 503
    assert "ListSymbols" not in calls.methods


async def test_certificates_change_without_a_restart(tmp_path: Path) -> None:
    key_file = tmp_path / "ca_private_key.pem"
    Authority.open(tmp_path, key_file, now=lambda: utc_now() - timedelta(minutes=31)).renew()
    async with (
        recorders(tmp_path, Calls(), *SERVICES) as servers,
        running_gateway(tmp_path, endpoints_of(servers)) as gateway,
    ):
        old = await edge_certificate(gateway)
        assert "edge" in Authority.open(tmp_path, key_file).renew()

        async def changed() -> bool:
            return (await edge_certificate(gateway)).serial_number != old.serial_number

        await eventually(changed)
        status, _ = await answer(gateway, "GET", "/v1/symbols", headers=TRADER)

    assert status == 200


async def edge_certificate(gateway: Gateway) -> x509.Certificate:
    """What a new TLS connection shows."""
    trusting = ssl.create_default_context(cafile=gateway.trust_bundle)
    _, writer = await asyncio.open_connection("localhost", gateway.settings.tls_port, ssl=trusting)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return x509.load_der_x509_certificate(shown)
