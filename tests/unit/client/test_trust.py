"""Whom the client takes for its gateway: whoever shows a certificate of the authorities in a file, as it is now."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.client import Client, Profile, ProfileError
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_pb2
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2
from services.stack.certificates import Authority
from tests.edge import Edge, running_edge

SYMBOLS = pb.ListSymbolsResponse(symbols=[symbol_pb2.Symbol(symbol="BTC-USDT@simex")])


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority.open(tmp_path, tmp_path / "authority" / "private_key.pem", overlap=timedelta(0))
    made.renew()
    return made


@pytest.fixture
def gateway(authority: Authority) -> Iterator[Edge]:
    with running_edge(authority.folder) as running:
        running.answers["ListSymbols"] = lambda _: SYMBOLS
        yield running


def succeed(authority: Authority, gateway: Edge) -> None:
    """Another authority stands behind everything, and the old one behind nothing."""
    gateway.stop()
    authority.succeed()
    while authority.is_changing:
        authority.renew()
    gateway.start()


async def test_a_client_follows_the_file_of_the_authority_without_a_failed_call(
    authority: Authority, gateway: Edge
) -> None:
    async with Client.connect(gateway.profile) as mesh:
        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS

        succeed(authority, gateway)

        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS


async def test_what_is_in_progress_goes_on_while_the_file_is_replaced(authority: Authority, gateway: Edge) -> None:
    between = threading.Event()

    def stream(_: Any) -> Iterator[Any]:
        for number in ("1", "2"):
            signal = prediction_pb2.Signal(prediction=prediction_pb2.Prediction(prediction_id=number))
            batch = prediction_pb2.SignalBatch(signals=[signal])
            yield prediction_service_pb2.StreamSignalsResponse(signals=batch, resume_token=number)
            between.wait(10)

    gateway.answers["StreamSignals"] = stream
    async with Client.connect(gateway.profile) as mesh, aclosing(mesh.signals()) as signals:
        first = await anext(signals)
        authority.succeed()
        await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())
        between.set()
        second = await anext(signals)

    assert [each.prediction.prediction_id for each in (first, second)] == ["1", "2"]
    assert len(gateway.called("StreamSignals")) == 1


@pytest.mark.parametrize("content", [b"", b"no certificate", b"half of one"])
async def test_a_file_that_holds_no_certificate_now_changes_nothing(
    authority: Authority, gateway: Edge, content: bytes
) -> None:
    ca = authority.folder / "ca.pem"
    if content == b"half of one":
        content = ca.read_bytes()[:-80]
    async with Client.connect(gateway.profile) as mesh:
        ca.write_bytes(content)
        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS
        ca.unlink()
        assert await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest()) == SYMBOLS


async def test_another_gateway_is_not_believed(gateway: Edge, certificates: Path) -> None:
    stranger = Profile(gateway.profile.gateway, str(certificates / "ca.pem"), "alice", "a password")
    async with Client.connect(stranger) as mesh:
        with pytest.raises(grpc.aio.AioRpcError, match="CERTIFICATE_VERIFY_FAILED"):
            async with asyncio.timeout(20):
                await mesh.marketdata.ListSymbols(pb.ListSymbolsRequest())


async def test_a_file_without_a_certificate_is_refused_by_name(tmp_path: Path) -> None:
    nothing = tmp_path / "ca.pem"
    for content, why in ((None, "No such file"), (b"no certificate", "it holds no certificate in PEM")):
        if content is not None:
            nothing.write_bytes(content)
        with pytest.raises(ProfileError, match=f"{nothing} cannot be read: {why}"):
            async with Client.connect(Profile("localhost:1", str(nothing), "alice", "a password")):
                pass
