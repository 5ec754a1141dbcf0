"""What a client learns from an error, and what a person is told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from levimesh.client import Client, Profile, details, explain
from levimesh.marketdata.v1 import marketdata_service_pb2 as pb
from services.runtime.errors import FieldViolations, NotFound, Overloaded
from services.stack.certificates import Authority
from tests.edge import Aborted, Edge, a_refusal


class SymbolNotFound(NotFound):
    reason = "SYMBOL_NOT_FOUND"


async def refused(profile: Profile) -> grpc.aio.AioRpcError:
    """The error of a call."""
    async with Client.connect(profile) as mesh:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await mesh.marketdata.GetTicker(pb.GetTickerRequest(symbol="XRP-USDT@simex"))
    return error.value


def raising(error: Exception) -> Callable[[Any], Any]:
    def answer(_: Any) -> Any:
        raise error

    return answer


async def test_a_reason_and_its_metadata_are_found(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(SymbolNotFound("symbol XRP-USDT@simex is not known", symbol="XRP-USDT@simex"))

    error = await refused(edge.profile)

    assert details(error).reason == "ERROR_REASON_SYMBOL_NOT_FOUND"
    assert details(error).metadata == {"symbol": "XRP-USDT@simex"}
    assert details(error).retry_after is None
    assert explain(error) == "symbol XRP-USDT@simex is not known [SYMBOL_NOT_FOUND]"


async def test_every_violated_field_is_named(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(FieldViolations({"symbol": "is empty", "": "makes no sense"}))

    assert details(await refused(edge.profile)).violations == {"symbol": "is empty", "": "makes no sense"}


async def test_when_to_retry_is_told(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(Overloaded("too many calls at once"))

    assert details(await refused(edge.profile)).retry_after == Overloaded.retry_after


async def test_an_error_without_details_is_told_by_its_status(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(Aborted(grpc.StatusCode.DATA_LOSS, "gone"))

    error = await refused(edge.profile)

    assert (details(error).reason, explain(error)) == ("", "gone [DATA_LOSS]")


async def test_a_deadline_is_no_outcome(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(Aborted(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    assert "whether the call had an effect is not known" in explain(await refused(edge.profile))


async def test_a_gateway_that_does_not_run_is_named(edge: Edge) -> None:
    edge.stop()

    told = explain(await refused(edge.profile))

    assert told == f"nothing listens at {edge.profile.gateway}; is the mesh running? [UNAVAILABLE]"


async def test_a_gateway_of_another_authority_is_not_trusted(edge: Edge, tmp_path: Path) -> None:
    Authority.open(tmp_path, tmp_path / "key.pem")
    profile = Profile(edge.profile.gateway, str(tmp_path / "ca.pem"), "alice", "secret")

    assert "was not issued by the trusted authority" in explain(await refused(profile))
    assert edge.calls == []


async def test_a_host_that_does_not_exist_is_told_in_the_words_of_grpc(edge: Edge) -> None:
    told = explain(await refused(Profile("no-such-host.invalid:443", edge.profile.ca, "alice", "secret")))

    assert told.startswith("the gateway cannot be reached: ")
    assert "no-such-host.invalid" in told


async def test_a_person_is_told_when_there_are_more_calls(edge: Edge) -> None:
    edge.answers["GetTicker"] = raising(a_refusal("RESOURCE_EXHAUSTED", "RATE_LIMITED", "too many calls", 29.5))

    assert explain(await refused(edge.profile)) == "too many calls; try again in 30 s [RATE_LIMITED]"
