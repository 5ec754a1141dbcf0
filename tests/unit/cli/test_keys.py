"""``levimesh keys``: API keys."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from levimesh.auth.v1 import api_key_pb2
from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from tests.edge import Edge
from tests.unit.cli.conftest import Levimesh, complaint

SECRET = "lm_abcdefgh_secret"


def ago(days: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(datetime.now(UTC) - timedelta(days=days))
    return stamp


A_KEY = api_key_pb2.ApiKey(
    key_id="11111111-1111-4111-8111-111111111111",
    name="robot",
    prefix="lm_abcdefgh",
    scopes=[api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_TRADE],
    allowed_networks=["10.0.0.0/8"],
    expire_time=ago(-90),
)
REVOKED = api_key_pb2.ApiKey(
    key_id="22222222-2222-4222-8222-222222222222", name="robot", prefix="lm_ijklmnop", revoke_time=ago(1)
)
EXPIRED = api_key_pb2.ApiKey(
    key_id="33333333-3333-4333-8333-333333333333", name="older", prefix="lm_qrstuvwx", expire_time=ago(1)
)


@pytest.fixture(autouse=True)
def three_keys(edge: Edge) -> None:
    edge.answers["ListApiKeys"] = lambda _: pb.ListApiKeysResponse(api_keys=[A_KEY, REVOKED, EXPIRED])


def test_a_key_is_made_as_it_was_asked_for_and_its_secret_is_shown(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateApiKey"] = lambda _: pb.CreateApiKeyResponse(api_key=A_KEY, secret=SECRET)

    result = levimesh(
        *("keys", "create", "robot", "--scope", "read", "--scope", "trade", "--lifetime", "90d"),
        *("--network", "10.0.0.0/8", "--tier", "elevated"),
    )

    (call,) = edge.called("CreateApiKey")
    assert list(call.request.scopes) == [api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_TRADE]
    assert call.request.lifetime.seconds == 90 * 86_400
    assert list(call.request.allowed_networks) == ["10.0.0.0/8"]
    assert call.request.rate_tier == policy_pb2.RATE_TIER_ELEVATED
    assert SECRET in result.stdout.splitlines()
    assert "shown this once" in result.stdout
    assert "LEVIMESH_API_KEY_FILE" in result.stdout


def test_a_key_without_more_leaves_the_rest_to_the_mesh(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateApiKey"] = lambda _: pb.CreateApiKeyResponse(api_key=A_KEY, secret=SECRET)

    result = levimesh("keys", "create", "robot", "--scope", "read", "--json")

    (call,) = edge.called("CreateApiKey")
    assert not call.request.HasField("lifetime")
    assert json.loads(result.stdout)["secret"] == SECRET


@pytest.mark.parametrize("lifetime", ["90", "d", "-1d", "1y", "1.5d"])
def test_a_lifetime_that_is_none_is_refused(edge: Edge, levimesh: Levimesh, lifetime: str) -> None:
    result = levimesh("keys", "create", "robot", "--scope", "read", "--lifetime", lifetime)

    assert result.exit_code == 2
    assert "is not a span of time such as 90d" in complaint(result)
    assert edge.calls == []


def test_keys_are_listed_with_what_has_become_of_them(levimesh: Levimesh) -> None:
    _, _, *lines = levimesh("keys", "list").stdout.splitlines()

    assert [line.split()[0] for line in lines] == ["robot", "robot", "older"]
    assert "read, trade" in lines[0]
    assert "10.0.0.0/8" in lines[0]
    assert [[word for word in ("revoked", "expired") if word in line] for line in lines] == [
        [],
        ["revoked"],
        ["expired"],
    ]


@pytest.mark.parametrize("named", ["robot", "lm_abcdefgh", "11111111", A_KEY.key_id])
def test_a_key_is_named_by_its_name_its_prefix_or_its_id(edge: Edge, levimesh: Levimesh, named: str) -> None:
    edge.answers["RotateApiKey"] = lambda _: pb.RotateApiKeyResponse(api_key=A_KEY, secret=SECRET)

    result = levimesh("keys", "rotate", named, "--overlap", "1h")

    (call,) = edge.called("RotateApiKey")
    assert (call.request.key_id, call.request.overlap.seconds) == (A_KEY.key_id, 3_600)
    assert SECRET in result.stdout


def test_a_key_that_does_not_work_any_more_is_not_meant_by_its_name(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("keys", "rotate", "older")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no working keys of yours are meant by older")


def test_a_name_that_two_keys_have_is_refused(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["ListApiKeys"] = lambda _: pb.ListApiKeysResponse(api_keys=[A_KEY, A_KEY])

    assert levimesh("keys", "revoke", "robot").stderr.startswith("error: 2 working keys of yours are meant by robot")


def test_a_key_is_revoked(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["RevokeApiKey"] = lambda _: pb.RevokeApiKeyResponse()

    assert levimesh("keys", "revoke", "robot").stdout == "The key robot is revoked.\n"
    assert [call.request.key_id for call in edge.called("RevokeApiKey")] == [A_KEY.key_id]
