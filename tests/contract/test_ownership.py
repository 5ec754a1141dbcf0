"""One user never sees or moves what is another's: every RPC that a trader may call, with the ids of somebody else.

Runs against the whole mesh. Ids are recognised by the names of the requests' fields, so a new RPC is covered as soon as
it is in a contract; a field with a new kind of id has to be said to be somebody's or everybody's, except in the
contracts of workloads that have nothing of anybody's own.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor

from gateway.contracts import SERVICES
from levimesh.auth.v1 import (
    api_key_pb2,
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from levimesh.policy.v1 import policy_pb2
from levimesh.trading.v1 import order_pb2, trading_service_pb2, trading_service_pb2_grpc
from services.runtime.decimals import to_pb as number
from tests.embedded import Mesh
from tests.mesh import error_info

PASSWORD = "a long enough password"
SOMEBODYS = {"order_id", "session_id", "key_id"}
"""Fields that name what one user owns."""
EVERYBODYS = {"client_order_id", "request_id", "model_id", "prediction_id", "user_id", "client_id", "training_id"}
"""Fields that name what is nobody's alone, or that only an admin may use."""
SHARED = ("marketdata", "prediction")
"""Workloads whose data is the same for everybody, whatever ids it has."""


@dataclass
class Person:
    """A trader of the mesh."""

    user_id: str
    metadata: tuple[tuple[str, str], ...]
    session_id: str


@dataclass
class World:
    """The mesh, Ann with things of hers, and Bob without any."""

    channel: grpc.Channel
    ann: Person
    bob: Person
    anns: dict[str, str]
    """Field name to what Ann has of it."""

    @property
    def secrets(self) -> set[str]:
        return {*self.anns.values(), self.ann.user_id}


def trader_methods() -> Iterator[MethodDescriptor]:
    for services in SERVICES.values():
        for service in services:
            for method in service.methods:
                policy = method.GetOptions().Extensions[policy_pb2.method]
                if "gateway" in policy.callers and (policy.public or policy_pb2.ROLE_TRADER in policy.roles):
                    yield method


METHODS = {method.full_name: method for method in trader_methods()}
WITH_IDS = [
    name for name, method in METHODS.items() if any(field.name in SOMEBODYS for field in method.input_type.fields)
]
READS = [
    name
    for name, method in METHODS.items()
    if method.GetOptions().Extensions[policy_pb2.method].idempotency == policy_pb2.IDEMPOTENCY_READ_ONLY
    and not (method.client_streaming or method.server_streaming)
]


@pytest.fixture(scope="module")
def world(mesh: Mesh) -> Iterator[World]:
    trusted = grpc.ssl_channel_credentials(mesh.authority.read_bytes())
    with grpc.secure_channel(mesh.tls.removeprefix("https://"), trusted) as channel:
        admin = (("authorization", f"Bearer {mesh.token()}"),)
        ann, bob = (_a_trader(channel, admin, name) for name in ("ann", "bob"))
        trading = trading_service_pb2_grpc.TradingServiceStub(channel)
        order = trading_service_pb2.SubmitOrderRequest(
            client_order_id=str(uuid.uuid4()),
            symbol="BTC-USDT@simex",
            side=order_pb2.SIDE_BUY,
            type=order_pb2.ORDER_TYPE_LIMIT,
            quantity=number(Decimal("0.01")),
            limit_price=number(Decimal(1000)),
        )
        placed = trading.SubmitOrder(order, metadata=ann.metadata).order
        keys = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
        wanted = api_key_service_pb2.CreateApiKeyRequest(name="a key", scopes=[api_key_pb2.SCOPE_READ])
        key = keys.CreateApiKey(wanted, metadata=ann.metadata).api_key
        yield World(
            channel,
            ann,
            bob,
            {"order_id": placed.order_id, "session_id": ann.session_id, "key_id": key.key_id},
        )


def _a_trader(channel: grpc.Channel, admin: tuple[tuple[str, str], ...], name: str) -> Person:
    users = user_service_pb2_grpc.UserServiceStub(channel)
    wanted = user_service_pb2.CreateUserRequest(username=name, password=PASSWORD, roles=[policy_pb2.ROLE_TRADER])
    user = users.CreateUser(wanted, metadata=admin).user
    login = auth_service_pb2_grpc.AuthServiceStub(channel).Login(
        auth_service_pb2.LoginRequest(username=name, password=PASSWORD)
    )
    return Person(user.user_id, (("authorization", f"Bearer {login.access_token}"),), login.session_id)


def call(world: World, method: MethodDescriptor, who: Person, **fields: str) -> Any:
    request = message_factory.GetMessageClass(method.input_type)(**fields)
    stub: Any = world.channel.unary_unary(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
    )
    return stub(request, metadata=who.metadata, timeout=10)


def ids_in(method: MethodDescriptor) -> list[FieldDescriptor]:
    return [field for field in method.input_type.fields if field.name.endswith(("_id", "_ids"))]


def is_shared(method: MethodDescriptor) -> bool:
    return any(method.containing_service in SERVICES[workload] for workload in SHARED)


@pytest.mark.parametrize("name", METHODS)
def test_every_id_in_a_request_is_known_to_be_somebodys_or_everybodys(name: str) -> None:
    names = {field.name for field in ids_in(METHODS[name])}

    assert names.isdisjoint(SOMEBODYS) if is_shared(METHODS[name]) else names <= SOMEBODYS | EVERYBODYS


@pytest.mark.parametrize("name", WITH_IDS)
def test_what_is_anothers_is_as_if_it_were_not(world: World, name: str) -> None:
    method = METHODS[name]
    names = [field.name for field in ids_in(method) if field.name in SOMEBODYS]
    before = belongings(world)

    seen = outcome(world, method, {name: world.anns[name] for name in names})

    assert seen == outcome(world, method, {name: str(uuid.uuid4()) for name in names})
    assert belongings(world) == before


def outcome(world: World, method: MethodDescriptor, fields: dict[str, str]) -> tuple[Any, ...]:
    """What Bob gets for ``fields``: the answer, or the status and the reason of the refusal."""
    try:
        return ("answer", call(world, method, world.bob, **fields))
    except grpc.RpcError as refused:
        error: Any = refused
        return (error.code(), error_info(error).reason)


def belongings(world: World) -> list[Any]:
    """What Ann has, as she sees it."""
    order = METHODS["levimesh.trading.v1.TradingService.GetOrder"]
    sessions = METHODS["levimesh.auth.v1.AuthService.ListSessions"]
    keys = METHODS["levimesh.auth.v1.ApiKeyService.ListApiKeys"]
    return [
        call(world, order, world.ann, order_id=world.anns["order_id"]),
        call(world, sessions, world.ann),
        call(world, keys, world.ann),
    ]


@pytest.mark.parametrize("name", READS)
def test_no_answer_tells_of_another(world: World, name: str) -> None:
    method = METHODS[name]
    try:
        answer = call(world, method, world.bob)
    except grpc.RpcError as refused:
        text = str(refused)
    else:
        text = json_format.MessageToJson(answer)
    assert not [secret for secret in world.secrets if secret in text]
