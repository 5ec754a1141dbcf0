"""``levimesh users``: the people of the mesh."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from tests.edge import PASSWORD, Edge
from tests.unit.cli.conftest import Levimesh, complaint

BOB_ID = "11111111-1111-4111-8111-111111111111"


def a_user(username: str = "bob", user_id: str = BOB_ID, **fields: Any) -> user_pb2.User:
    return user_pb2.User(username=username, user_id=user_id, roles=[policy_pb2.ROLE_VIEWER], **fields)


@pytest.fixture(autouse=True)
def two_pages(edge: Edge) -> None:
    """Ann on the first page, Bob on the second."""

    def list_users(request: pb.ListUsersRequest) -> pb.ListUsersResponse:
        if request.page_token == "second":
            return pb.ListUsersResponse(users=[a_user()])
        return pb.ListUsersResponse(users=[a_user("ann", "22")], next_page_token="second")

    edge.answers["ListUsers"] = list_users


def test_a_user_is_created_with_roles_a_tier_and_a_password_typed_twice(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateUser"] = lambda request: pb.CreateUserResponse(
        user=user_pb2.User(username=request.username, roles=request.roles, rate_tier=request.rate_tier)
    )

    result = levimesh(
        *("users", "create", "bob", "--role", "viewer", "--role", "trader", "--tier", "elevated"),
        typed="long enough\n" * 2,
    )

    (call,) = edge.called("CreateUser")
    assert list(call.request.roles) == [policy_pb2.ROLE_VIEWER, policy_pb2.ROLE_TRADER]
    assert call.request.password == "long enough"
    assert "viewer, trader" in result.stdout
    assert "elevated" in result.stdout
    assert "long enough" not in result.output


def test_a_password_typed_differently_the_second_time_creates_nobody(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("users", "create", "bob", "--role", "viewer", typed="long enough\nlong enogh\n")

    assert result.exit_code != 0
    assert edge.calls == []


def test_every_page_is_listed(levimesh: Levimesh) -> None:
    assert [line.split()[0] for line in levimesh("users", "list").stdout.splitlines()[2:]] == ["ann", "bob"]

    listed = json.loads(levimesh("users", "list", "--json").stdout)
    assert [user["username"] for user in listed["users"]] == ["ann", "bob"]
    assert listed["next_page_token"] == ""


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        (["--role", "trader"], {"roles": ["ROLE_TRADER"], "update_mask": "roles"}),
        (["--tier", "elevated"], {"rate_tier": "RATE_TIER_ELEVATED", "update_mask": "rateTier"}),
    ],
)
def test_only_what_is_named_is_updated(
    edge: Edge, levimesh: Levimesh, arguments: list[str], changed: dict[str, Any]
) -> None:
    edge.answers["UpdateUser"] = lambda _: pb.UpdateUserResponse(user=a_user())

    assert levimesh("users", "update", "bob", *arguments).exit_code == 0

    (call,) = edge.called("UpdateUser")
    assert MessageToDict(call.request, preserving_proto_field_name=True) == {"user_id": BOB_ID, **changed}


def test_an_update_that_changes_nothing_is_refused(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("users", "update", "bob")

    assert result.exit_code == 2
    assert "nothing to change was named" in complaint(result)
    assert edge.calls == []


@pytest.mark.parametrize(
    ("command", "method", "response"),
    [
        ("disable", "DisableUser", pb.DisableUserResponse(user=a_user(disabled=True))),
        ("enable", "EnableUser", pb.EnableUserResponse(user=a_user())),
        ("reset-totp", "ResetTotp", pb.ResetTotpResponse(user=a_user())),
    ],
)
def test_a_user_is_named_by_the_user_name_in_any_case(
    edge: Edge, levimesh: Levimesh, command: str, method: str, response: Any
) -> None:
    edge.answers[method] = lambda _: response

    result = levimesh("users", command, "Bob")

    assert [call.request.user_id for call in edge.called(method)] == [BOB_ID]
    assert ("disabled" in result.stdout) == (command == "disable")


def test_a_user_that_there_is_not_is_named(levimesh: Levimesh) -> None:
    result = levimesh("users", "disable", "eve")

    assert result.exit_code == 1
    assert result.stderr == "error: there is no user eve; `levimesh users list` lists them all\n"


def test_a_user_is_deleted_only_when_it_is_meant(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["DeleteUser"] = lambda _: pb.DeleteUserResponse()

    assert levimesh("users", "delete", "bob", typed="n\n").exit_code == 1
    assert edge.called("DeleteUser") == []

    assert levimesh("users", "delete", "bob", typed="y\n").exit_code == 0
    assert levimesh("users", "delete", "bob", "--yes").exit_code == 0
    assert [call.request.user_id for call in edge.called("DeleteUser")] == [BOB_ID] * 2


def test_a_new_password_of_somebody_else_is_shown_and_not_kept(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    edge.answers["ResetPassword"] = lambda _: pb.ResetPasswordResponse(password="a new password")

    result = levimesh("users", "reset-password", "bob")

    assert result.stdout.endswith("a new password\n")
    assert json.loads((tmp_path / "state" / "admin.json").read_text())["password"] == PASSWORD


def test_a_new_password_of_the_embedded_admin_is_kept_in_its_place(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    edge.answers["ListUsers"] = lambda _: pb.ListUsersResponse(users=[a_user("alice")])
    edge.answers["ResetPassword"] = lambda _: pb.ResetPasswordResponse(password="a new password")

    levimesh("users", "reset-password", "alice")

    path = tmp_path / "state" / "admin.json"
    assert json.loads(path.read_text()) == {"username": "alice", "password": "a new password"}
    assert path.stat().st_mode & 0o777 == 0o600
