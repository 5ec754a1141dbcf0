"""Every RPC from outside with an API key of each scope, through the whole mesh: the policy decides."""

from collections.abc import Iterator

import grpc
import pytest

from levimesh.auth.v1 import api_key_pb2, api_key_service_pb2, api_key_service_pb2_grpc
from levimesh.policy.v1 import policy_pb2
from tests.embedded import Mesh
from tests.walk import METHODS, Bearer, expected_outside, outcome

SCOPES = ("read", "trade", "admin")


@pytest.fixture(scope="module")
def keys(mesh: Mesh) -> Iterator[dict[str, str]]:
    """Scope to the secret of a key of the admin."""
    trusted = grpc.ssl_channel_credentials(mesh.authority.read_bytes())
    with grpc.secure_channel(mesh.tls.removeprefix("https://"), trusted) as channel:
        stub = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
        metadata = (("authorization", f"Bearer {mesh.token()}"),)

        def make(scope: str) -> str:
            wanted = api_key_service_pb2.CreateApiKeyRequest(
                name=scope, scopes=[api_key_pb2.Scope.Value(f"SCOPE_{scope.upper()}")]
            )
            return stub.CreateApiKey(wanted, metadata=metadata).secret

        yield {scope: make(scope) for scope in SCOPES}


@pytest.mark.parametrize("name", METHODS)
async def test_the_policy_decides_about_calls_with_api_keys(mesh: Mesh, keys: dict[str, str], name: str) -> None:
    _, method = METHODS[name]
    trusted = grpc.ssl_channel_credentials(mesh.authority.read_bytes())
    async with grpc.aio.secure_channel(mesh.tls.removeprefix("https://"), trusted) as channel:
        for scope, secret in keys.items():
            key = Bearer(scope, "exchanged at the edge", role=policy_pb2.ROLE_ADMIN, scope=scope, api_key=secret)
            assert await outcome(channel, method, key) == expected_outside(method, key), scope
