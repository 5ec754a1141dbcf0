"""API keys over mTLS: made and shown once, exchanged for tokens at the edge, rotated and revoked."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration
from sqlalchemy import text

from levimesh.auth.v1 import api_key_pb2, user_service_pb2
from levimesh.auth.v1 import api_key_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from services.runtime.database import open_database
from services.runtime.pagination import encode_page_token
from services.runtime.timestamps import from_pb
from tests.api_keys import HOME, Checked, Programs, a_check, running_programs
from tests.auth import auth_settings
from tests.mesh import error_info
from tests.people import refusal

NOT_FOUND = (grpc.StatusCode.NOT_FOUND, "API_KEY_NOT_FOUND")
NOT_ALLOWED = (grpc.StatusCode.PERMISSION_DENIED, "GRANT_NOT_ALLOWED")
ENDED = (grpc.StatusCode.UNAUTHENTICATED, "SESSION_ENDED")
SCOPE_MISSING = (grpc.StatusCode.PERMISSION_DENIED, "SCOPE_MISSING")
INVALID = (401, "API_KEY_INVALID")
NO_KEYS = pb.ListApiKeysRequest()
HOUR = Duration(seconds=3600)


@pytest_asyncio.fixture
async def programs(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Programs]:
    async with running_programs(database_url("auth"), redis_url, certificates) as running:
        yield running


@pytest_asyncio.fixture
async def replicas(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> AsyncIterator[Programs]:
    async with running_programs(database_url("auth"), redis_url, certificates, replicas=2) as running:
        yield running


async def within(seconds: float, condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(seconds):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.02)


async def test_a_key_is_shown_with_its_secret_once(programs: Programs) -> None:
    created = await programs.create(name="my bot", scopes=["SCOPE_READ", "SCOPE_TRADE"], allowed_networks=["192.0.2.7"])
    listed = await programs.keys().ListApiKeys(NO_KEYS, metadata=programs.ann)

    key = created.api_key
    assert list(listed.api_keys) == [key]
    assert created.secret.startswith(f"{key.prefix}_")
    assert created.secret not in str(listed)
    assert key.scopes == [api_key_pb2.SCOPE_READ, api_key_pb2.SCOPE_TRADE]
    assert key.allowed_networks == ["192.0.2.7/32"]
    assert from_pb(key.expire_time) - from_pb(key.create_time) == timedelta(days=365)
    assert not key.HasField("last_use_time")
    assert not key.HasField("revoke_time")


async def test_a_secret_is_kept_nowhere(database_url: Callable[[str], str], redis_url: str, certificates: Path) -> None:
    url = database_url("auth")
    async with running_programs(url, redis_url, certificates) as programs:
        created = await programs.create()
        key_id = created.api_key.key_id
        rotation = pb.RotateApiKeyRequest(key_id=key_id, overlap=HOUR)
        rotated = await programs.keys().RotateApiKey(rotation, metadata=programs.ann)
        audited = str(programs.replicas[0].audit.events)

    async with open_database(auth_settings(url).database_url) as engine, engine.connect() as connection:
        kept = str((await connection.execute(text("SELECT api_keys::text FROM auth.api_keys"))).scalars().all())
    assert key_id in kept
    assert key_id in audited
    for secret in (created.secret, rotated.secret):
        random_part = secret.removeprefix(f"{created.api_key.prefix}_")
        assert random_part not in kept + audited


async def test_a_key_becomes_a_token_that_says_what_the_key_may(programs: Programs) -> None:
    created = await programs.create(scopes=["SCOPE_TRADE", "SCOPE_READ"])

    checked = await programs.check(created.secret)

    assert checked.admitted
    assert checked.claims["sub"] == programs.ann_id
    assert checked.claims["sid"] == created.api_key.key_id
    assert checked.claims["scope"] == "read trade"
    assert checked.claims["roles"] == ["ROLE_TRADER"]
    assert checked.headers["x-levimesh-subject"] == programs.ann_id
    assert checked.headers["x-levimesh-tier"] == checked.claims["tier"] == "standard"
    assert list(checked.response.ok_response.headers_to_remove) == ["x-api-key"]
    listed = await programs.keys().ListApiKeys(NO_KEYS, metadata=checked.bearing)
    assert [key.key_id for key in listed.api_keys] == [created.api_key.key_id]


async def test_the_token_of_a_key_is_used_again(programs: Programs) -> None:
    secret = (await programs.create()).secret

    tokens = {(await programs.check(secret)).headers["authorization"] for _ in range(5)}

    assert len(tokens) == 1


async def test_a_key_does_nothing_outside_its_scopes_and_never_makes_another_key(programs: Programs) -> None:
    trade = (await programs.check((await programs.create(scopes=["SCOPE_TRADE"])).secret)).bearing
    everything = ["SCOPE_READ", "SCOPE_TRADE", "SCOPE_ADMIN"]
    admin = (await programs.check((await programs.create(programs.root, scopes=everything)).secret)).bearing

    assert await refusal(programs.keys().ListApiKeys(NO_KEYS, metadata=trade)) == SCOPE_MISSING
    for metadata in (trade, admin):
        another = pb.CreateApiKeyRequest(name="another", scopes=[api_key_pb2.SCOPE_READ])
        assert await refusal(programs.keys().CreateApiKey(another, metadata=metadata)) == SCOPE_MISSING


@pytest.mark.parametrize(
    ("owner", "wanted"),
    [
        ("ann", {"scopes": ["SCOPE_READ", "SCOPE_ADMIN"]}),
        ("bob", {"scopes": ["SCOPE_TRADE"]}),
        ("ann", {"rate_tier": policy_pb2.RATE_TIER_ELEVATED}),
    ],
)
async def test_nobody_gives_a_key_more_than_they_have(programs: Programs, owner: str, wanted: dict[str, Any]) -> None:
    assert await refusal(programs.create(getattr(programs, owner), **wanted)) == NOT_ALLOWED


@pytest.mark.parametrize("network", ["here", "192.0.2.0/33", "fe80::1%eth0", ""])
async def test_what_is_no_network_is_refused(programs: Programs, network: str) -> None:
    code, reason = await refusal(programs.create(allowed_networks=[network]))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "FIELD_VIOLATION")


async def test_a_call_without_a_good_key_is_told_why(programs: Programs) -> None:
    created = await programs.create(allowed_networks=["192.0.2.0/24"])
    wrong = created.secret[:-1] + ("A" if created.secret[-1] != "A" else "B")

    assert (await programs.check(None)).refusal == (401, "TOKEN_MISSING")
    assert (await programs.check("nonsense")).refusal == INVALID
    assert (await programs.check(wrong)).refusal == INVALID
    assert (await programs.check(created.secret, "198.51.100.1")).refusal == (403, "ADDRESS_NOT_ALLOWED")
    assert (await programs.check(created.secret, HOME)).admitted


async def test_a_good_key_from_elsewhere_is_recorded_once_in_a_minute(programs: Programs) -> None:
    created = await programs.create(allowed_networks=["192.0.2.0/24"])
    for _ in range(3):
        await programs.check(created.secret, "198.51.100.1")

    events = [each for each in programs.replicas[0].audit.events if each.action == "api_key_address_refused"]
    assert [(each.actor, each.session_id, each.address) for each in events] == [
        (programs.ann_id, created.api_key.key_id, "198.51.100.1")
    ]


@pytest.mark.parametrize("workload", ["stranger", "trading"])
async def test_only_the_gateway_may_ask(programs: Programs, workload: str) -> None:
    refused = await refusal(programs.edge(caller=workload).Check(a_check(None)))
    assert refused == (grpc.StatusCode.PERMISSION_DENIED, "CALLER_NOT_ALLOWED")


async def test_a_revoked_key_and_its_tokens_end_within_two_seconds_at_every_replica(replicas: Programs) -> None:
    created = await replicas.create()
    checked = [await replicas.check(created.secret, replica=replica) for replica in range(2)]
    assert all(each.admitted for each in checked)

    await replicas.keys().RevokeApiKey(pb.RevokeApiKeyRequest(key_id=created.api_key.key_id), metadata=replicas.ann)

    async def refused_everywhere() -> bool:
        return not any([(await replicas.check(created.secret, replica=replica)).admitted for replica in range(2)])

    async def tokens_are_worthless() -> bool:
        return all([await _is_refused(replicas, replica, checked[1 - replica]) for replica in range(2)])

    async with asyncio.timeout(2):
        await asyncio.gather(within(2, refused_everywhere), within(2, tokens_are_worthless))
    (key,) = (await replicas.keys().ListApiKeys(NO_KEYS, metadata=replicas.ann)).api_keys
    assert key.HasField("revoke_time")


async def _is_refused(programs: Programs, replica: int, checked: Checked) -> bool:
    try:
        await programs.keys(replica).ListApiKeys(NO_KEYS, metadata=checked.bearing)
    except grpc.aio.AioRpcError as error:
        return (error.code(), error_info(error).reason) == (ENDED[0], f"ERROR_REASON_{ENDED[1]}")
    return False


async def test_revoking_again_changes_nothing(programs: Programs) -> None:
    request = pb.RevokeApiKeyRequest(key_id=(await programs.create()).api_key.key_id)
    await programs.keys().RevokeApiKey(request, metadata=programs.ann)
    (first,) = (await programs.keys().ListApiKeys(NO_KEYS, metadata=programs.ann)).api_keys

    await programs.keys().RevokeApiKey(request, metadata=programs.ann)

    (again,) = (await programs.keys().ListApiKeys(NO_KEYS, metadata=programs.ann)).api_keys
    assert again == first


async def test_nobody_sees_or_touches_the_keys_of_others_but_an_admin_revokes_them(programs: Programs) -> None:
    created = await programs.create()
    key_id = created.api_key.key_id
    keys = programs.keys()

    assert not (await keys.ListApiKeys(NO_KEYS, metadata=programs.bob)).api_keys
    for metadata in (programs.bob, programs.root):
        rotation = pb.RotateApiKeyRequest(key_id=key_id)
        assert await refusal(keys.RotateApiKey(rotation, metadata=metadata)) == NOT_FOUND
    revocation = pb.RevokeApiKeyRequest(key_id=key_id)
    assert await refusal(keys.RevokeApiKey(revocation, metadata=programs.bob)) == NOT_FOUND
    assert (await programs.check(created.secret)).admitted

    await keys.RevokeApiKey(revocation, metadata=programs.root)

    async def refused() -> bool:
        return not (await programs.check(created.secret)).admitted

    await within(2, refused)


async def test_after_a_rotation_the_old_secret_works_as_long_as_it_was_said_to(programs: Programs) -> None:
    created = await programs.create()
    await programs.check(created.secret)

    request = pb.RotateApiKeyRequest(key_id=created.api_key.key_id, overlap=HOUR)
    rotated = await programs.keys().RotateApiKey(request, metadata=programs.ann)

    assert rotated.api_key == created.api_key
    assert rotated.secret != created.secret

    async def new_works() -> bool:
        return (await programs.check(rotated.secret)).admitted

    await within(2, new_works)
    assert (await programs.check(created.secret)).admitted
    programs.clock.move(hours=1)
    assert (await programs.check(created.secret)).refusal == INVALID
    assert (await programs.check(rotated.secret)).admitted


async def test_without_an_overlap_the_old_secret_ends_at_once(programs: Programs) -> None:
    created = await programs.create()
    request = pb.RotateApiKeyRequest(key_id=created.api_key.key_id)
    await programs.keys().RotateApiKey(request, metadata=programs.ann)

    assert (await programs.check(created.secret)).refusal == INVALID


async def test_a_key_that_has_ended_is_not_rotated(programs: Programs) -> None:
    key_id = (await programs.create()).api_key.key_id
    await programs.keys().RevokeApiKey(pb.RevokeApiKeyRequest(key_id=key_id), metadata=programs.ann)

    rotation = pb.RotateApiKeyRequest(key_id=key_id)
    assert await refusal(programs.keys().RotateApiKey(rotation, metadata=programs.ann)) == NOT_FOUND


async def test_a_key_expires_and_its_tokens_with_it(programs: Programs) -> None:
    created = await programs.create(lifetime=Duration(seconds=90))

    checked = await programs.check(created.secret)
    assert checked.claims["exp"] <= created.api_key.expire_time.seconds
    programs.clock.move(seconds=90)
    assert (await programs.check(created.secret)).refusal == INVALID


async def test_the_keys_of_a_disabled_user_rest(programs: Programs) -> None:
    created = await programs.create()
    checked = await programs.check(created.secret)
    users = programs.replicas[0].users()
    await users.DisableUser(user_service_pb2.DisableUserRequest(user_id=programs.ann_id), metadata=programs.root)

    async def refused() -> bool:
        return not (await programs.check(created.secret)).admitted and await _is_refused(programs, 0, checked)

    await within(2, refused)
    await users.EnableUser(user_service_pb2.EnableUserRequest(user_id=programs.ann_id), metadata=programs.root)

    async def works() -> bool:
        found = await programs.check(created.secret)
        return found.admitted and not await _is_refused(programs, 0, found)

    await within(2, works)


async def test_the_keys_of_a_deleted_user_are_gone(programs: Programs) -> None:
    created = await programs.create()
    users = programs.replicas[0].users()
    await users.DeleteUser(user_service_pb2.DeleteUserRequest(user_id=programs.ann_id), metadata=programs.root)

    assert (await programs.check(created.secret)).refusal == INVALID


async def test_keys_are_listed_by_pages_the_newest_first(programs: Programs) -> None:
    names = []
    for number in range(5):
        programs.clock.move(microseconds=1)
        names.append((await programs.create(name=f"bot {number}")).api_key.name)

    found, token = [], ""
    while True:
        request = pb.ListApiKeysRequest(page_size=2, page_token=token)
        page = await programs.keys().ListApiKeys(request, metadata=programs.ann)
        found += [key.name for key in page.api_keys]
        if not (token := page.next_page_token):
            break

    assert found == names[::-1]
    impossible = encode_page_token(["0001-01-01T00:00:00+23:59", str(uuid4())], pb.ListApiKeysRequest())
    for token in ("bogus", impossible):
        refused = await refusal(
            programs.keys().ListApiKeys(pb.ListApiKeysRequest(page_token=token), metadata=programs.ann)
        )
        assert refused == (grpc.StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_when_a_key_was_used_is_known_to_the_minute(
    database_url: Callable[[str], str], redis_url: str, certificates: Path
) -> None:
    url = database_url("auth")
    async with running_programs(url, redis_url, certificates) as programs:
        secret = (await programs.create()).secret
        await programs.create(name="never used")
        await programs.check(secret)
        minute = programs.clock().replace(second=0, microsecond=0)

    settings = auth_settings(url)
    async with open_database(settings.database_url) as engine, engine.connect() as connection:
        found = await connection.execute(text("SELECT name, last_use_time FROM auth.api_keys"))
        times = {row.name: row.last_use_time for row in found}
    assert times["never used"] is None
    assert timedelta() <= minute - times["bot"] <= timedelta(minutes=1)
    assert times["bot"].second == 0
