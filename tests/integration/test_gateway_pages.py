"""What the gateway answers by itself, through a real Envoy."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from tests.gateway import Calls, Gateway, recorders, running_gateway

HERE = Path(__file__).parents[2] / "gateway"


@pytest.fixture(scope="module")
def calls() -> Calls:
    return Calls()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(certificates: Path, calls: Calls) -> AsyncIterator[Gateway]:
    async with recorders(certificates, calls, "auth", "marketdata", "prediction", "trading") as servers:
        endpoints = {workload: (served.target,) for workload, served in servers.items()}
        async with running_gateway(certificates, endpoints) as running:
            yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_openapi_document_is_served_as_it_is(gateway: Gateway) -> None:
    async with gateway.http.get("/openapi.yaml") as answer:
        content = await answer.read()

    assert (answer.status, answer.content_type) == (200, "application/yaml")
    assert content == (HERE / "openapi.yaml").read_bytes()
    assert yaml.safe_load(content)["openapi"] == "3.1.1"


async def test_the_page_that_shows_it_has_all_it_needs_here(gateway: Gateway) -> None:
    async with gateway.http.get("/docs") as answer:
        page = await answer.text()

    assert (answer.status, answer.content_type) == (200, "text/html")
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "//" not in page.replace("<!doctype", "")
    for path, content_type, file in (
        ("/docs/docs.js", "text/javascript", HERE / "static" / "docs.js"),
        ("/docs/swagger-ui-bundle.js", "text/javascript", HERE / "static" / "swagger-ui" / "swagger-ui-bundle.js"),
        ("/docs/swagger-ui.css", "text/css", HERE / "static" / "swagger-ui" / "swagger-ui.css"),
    ):
        assert path in page
        async with gateway.http.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, content_type)
            assert await answer.read() == file.read_bytes()


@pytest.mark.parametrize(
    "path", ["/docs/", "/docs/openapi.yaml", "/docs/../envoy.json", "/docs/swagger-ui", "/docs%2fx"]
)
async def test_nothing_else_is_served(gateway: Gateway, path: str) -> None:
    async with gateway.http.get(path) as answer:
        assert answer.status in (400, 404)


async def test_the_pages_can_only_be_read(gateway: Gateway, calls: Calls) -> None:
    async with gateway.http.post("/docs", data=b"x") as answer:
        assert answer.status == 404

    assert calls.methods == []
