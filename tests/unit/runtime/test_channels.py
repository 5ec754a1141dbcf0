"""What the channels between services add to a call."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import marketdata_service_pb2_grpc as pb_grpc
from services.runtime.channels import open_channel
from services.stack.certificates import Authority
from tests.gateway import Calls, recording
from tests.mesh import files_of, serving

SERVICE = pb.DESCRIPTOR.services_by_name["MarketDataService"]


async def test_a_call_takes_no_longer_than_the_contract_allows_and_the_server_is_told(certificates: Path) -> None:
    told: list[float] = []
    servicer: Any = recording(SERVICE, Calls(), {})
    servicer.ListSymbols = _timing(servicer.ListSymbols, told)
    async with (
        serving({SERVICE: servicer}, certificates, workload="marketdata") as served,
        open_channel(SERVICE, "marketdata", served.target, files_of(certificates, "trading")) as channel,
    ):
        marketdata: Any = pb_grpc.MarketDataServiceStub(channel)
        for timeout in (None, 1.0, 60.0):
            await marketdata.ListSymbols(pb.ListSymbolsRequest(), timeout=timeout)

    assert told == [pytest.approx(seconds, abs=0.5) for seconds in (2, 1, 2)]


async def test_a_channel_shows_the_certificate_that_has_replaced_its_first_one(
    certificates: Path, tmp_path: Path
) -> None:
    servicer: Any = recording(SERVICE, Calls(), {})
    # As a certificate that has expired, one of another authority is refused in the handshake.
    Authority.open(tmp_path, tmp_path / "ca_private_key.pem").renew(["trading"])
    (tmp_path / "ca.pem").write_bytes((certificates / "ca.pem").read_bytes())
    async with (
        serving({SERVICE: servicer}, certificates, workload="marketdata") as served,
        open_channel(SERVICE, "marketdata", served.target, files_of(tmp_path, "trading")) as channel,
    ):
        marketdata: Any = pb_grpc.MarketDataServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await marketdata.ListSymbols(pb.ListSymbolsRequest())
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE

        for name in ("private_key.pem", "certificate.pem"):
            new = tmp_path / f"{name}.new"
            new.write_bytes((certificates / "trading" / name).read_bytes())
            new.replace(tmp_path / "trading" / name)

        await marketdata.ListSymbols(pb.ListSymbolsRequest())


async def test_a_stream_goes_on_with_the_certificate_that_it_was_opened_with(
    certificates: Path, tmp_path: Path
) -> None:
    told: asyncio.Queue[pb.StreamTradesResponse] = asyncio.Queue()

    async def stream(_: object) -> AsyncIterator[pb.StreamTradesResponse]:
        while True:
            yield await told.get()

    shutil.copytree(certificates / "prediction", tmp_path / "prediction")
    shutil.copy(certificates / "ca.pem", tmp_path)
    servicer: Any = recording(SERVICE, Calls(), {"StreamTrades": stream})
    async with (
        serving({SERVICE: servicer}, certificates, workload="marketdata") as served,
        open_channel(SERVICE, "marketdata", served.target, files_of(tmp_path, "prediction")) as channel,
    ):
        marketdata: Any = pb_grpc.MarketDataServiceStub(channel)
        trades = marketdata.StreamTrades(pb.StreamTradesRequest())
        told.put_nowait(pb.StreamTradesResponse(resume_token="before"))
        before = await trades.read()

        shutil.copy(certificates / "prediction" / "certificate.pem", tmp_path / "new")
        (tmp_path / "new").replace(tmp_path / "prediction" / "certificate.pem")
        await marketdata.ListSymbols(pb.ListSymbolsRequest())
        told.put_nowait(pb.StreamTradesResponse(resume_token="after"))
        after = await trades.read()
        trades.cancel()

    assert (before.resume_token, after.resume_token) == ("before", "after")


def _timing(answer: Callable[[Any, Any], Awaitable[Any]], told: list[float]) -> Callable[[Any, Any], Awaitable[Any]]:
    """``answer``, which notes first how long it may take by the call itself (0: for ever)."""

    async def timed(request: Any, context: Any) -> Any:
        told.append(context.time_remaining() or 0.0)
        return await answer(request, context)

    return timed
