import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.stack.checks import GrpcCheck, NotReady, check_http
from tests.mesh import files_of, serving


@asynccontextmanager
async def answering(folder: Path, answer: bytes) -> AsyncIterator[Path]:
    """A server on a unix socket that gives ``answer`` to whatever it is asked."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(handle, str(folder / "socket")):
        yield folder / "socket"


async def test_a_service_is_ready_when_it_serves_and_says_what_it_serves_without(certificates: Path) -> None:
    async with serving({}, certificates, workload="marketdata") as served:
        check = GrpcCheck("marketdata", served.target, files_of(certificates, "stack"))
        database, feed = served.health.part("database"), served.health.part("feed", gates=False)

        with pytest.raises(NotReady, match="not serving: database, feed"):
            await check()
        database.ok()
        assert await check() == "serves without feed"
        feed.ok()
        assert await check() == ""
        await check.close()


async def test_a_service_that_pretends_to_be_another_one_is_not_ready(certificates: Path) -> None:
    async with serving({}, certificates, workload="trading") as served:
        check = GrpcCheck("marketdata", served.target, files_of(certificates, "stack"))

        with pytest.raises(NotReady, match="does not answer"):
            await check()


async def test_a_service_that_comes_back_is_noticed_at_the_next_check(certificates: Path) -> None:
    async with serving({}, certificates, workload="auth") as served:
        check = GrpcCheck("auth", served.target, files_of(certificates, "stack"))
        assert await check() == ""
    with pytest.raises(NotReady, match="does not answer"):
        await check()

    async with serving({}, certificates, workload="auth", port=served.port):
        assert await check() == ""
        await check.close()


async def test_only_200_means_ready_over_http(tmp_path: Path) -> None:
    async with answering(tmp_path, b"HTTP/1.1 200 OK\r\n\r\n") as socket:
        await check_http("/ready", socket=socket)
    async with answering(tmp_path, b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as socket:
        with pytest.raises(NotReady, match="GET /ready answered 503"):
            await check_http("/ready", socket=socket)
    async with answering(tmp_path, b"") as socket:
        with pytest.raises(NotReady, match="GET /ready was not answered"):
            await check_http("/ready", socket=socket)
