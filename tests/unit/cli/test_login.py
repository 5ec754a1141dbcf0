"""``levimesh login``, ``logout``, ``whoami``, ``users``: who to be."""

import json
from pathlib import Path

import pytest

from levimesh.auth.v1 import user_pb2
from levimesh.auth.v1 import user_service_pb2 as pb
from levimesh.policy.v1 import policy_pb2
from tests.edge import PASSWORD, Edge
from tests.unit.cli.conftest import Levimesh, complaint


@pytest.fixture(autouse=True)
def a_user(edge: Edge) -> None:
    user = user_pb2.User(username="alice", roles=[policy_pb2.ROLE_TRADER, policy_pb2.ROLE_ADMIN])
    edge.answers["GetCurrentUser"] = lambda _: pb.GetCurrentUserResponse(user=user)


def test_the_admin_of_the_embedded_stack_needs_no_login(edge: Edge, levimesh: Levimesh) -> None:
    shown = levimesh("whoami").stdout

    assert shown.split() == ["user", "alice", "roles", "trader,", "admin", "gateway", f"127.0.0.1:{edge.port}"]


def test_a_login_is_remembered_without_the_password(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    result = levimesh("login", "alice", typed=f"{PASSWORD}\n")

    assert result.exit_code == 0
    assert PASSWORD not in result.output
    kept = json.loads((tmp_path / "credentials.json").read_text())
    assert kept["gateway"] == f"127.0.0.1:{edge.port}"
    assert kept["access_token"] == "token-1"
    assert PASSWORD not in json.dumps(kept)
    assert levimesh("whoami").exit_code == 0
    assert [call.token for call in edge.called("GetCurrentUser")] == ["token-1"], "and there was no other login"


def test_the_password_may_come_from_a_file(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")

    result = levimesh("login", "alice", "--password-file", str(tmp_path / "password"))

    assert result.exit_code == 0
    assert [call.request.password for call in edge.called("Login")] == [PASSWORD]


def test_the_authority_of_the_embedded_stack_need_not_be_named(
    edge: Edge, levimesh: Levimesh, certificates: Path
) -> None:
    assert levimesh("login", "alice", "--gateway", f"localhost:{edge.port}", typed=f"{PASSWORD}\n").exit_code == 0


def test_another_gateway_is_not_trusted_by_the_embedded_stacks_authority(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    stack = {"ports": {"gateway": edge.port + 1}}
    (tmp_path / "state" / "stack.json").write_text(json.dumps(stack))

    refused = levimesh("login", "alice", "--gateway", f"127.0.0.1:{edge.port}", typed=f"{PASSWORD}\n")
    authority = str(tmp_path / "state" / "certificates" / "ca.pem")
    accepted = levimesh(
        "login", "alice", "--gateway", f"127.0.0.1:{edge.port}", "--ca", authority, typed=f"{PASSWORD}\n"
    )

    assert refused.exit_code == 1
    assert "was not issued by the trusted authority" in refused.stderr
    assert accepted.exit_code == 0


def test_a_wrong_password_is_refused_and_nothing_is_remembered(levimesh: Levimesh, tmp_path: Path) -> None:
    result = levimesh("login", "alice", typed="wrong\n")

    assert result.exit_code == 1
    assert result.stderr.endswith("error: the user name or the password is wrong [CREDENTIALS_INVALID]\n")
    assert not (tmp_path / "credentials.json").exists()


@pytest.mark.parametrize("gateway", ["localhost", "https://localhost:8443", "localhost:port"])
def test_a_gateway_that_is_no_address_is_refused(edge: Edge, levimesh: Levimesh, gateway: str) -> None:
    result = levimesh("login", "alice", "--gateway", gateway, typed="x\n")

    assert result.exit_code == 2
    assert "is not HOST:PORT" in complaint(result)
    assert edge.calls == []


def test_a_login_that_has_expired_says_what_to_do(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    edge.token_life = 0
    levimesh("login", "alice", typed=f"{PASSWORD}\n")

    result = levimesh("whoami")

    assert result.exit_code == 1
    assert "has expired: run `levimesh login alice`" in result.stderr


def test_a_logout_forgets_the_login_and_may_be_repeated(levimesh: Levimesh, tmp_path: Path) -> None:
    levimesh("login", "alice", typed=f"{PASSWORD}\n")

    assert [levimesh("logout").exit_code for _ in range(2)] == [0, 0]

    assert not (tmp_path / "credentials.json").exists()


def test_where_no_mesh_is_known_it_says_how_to_get_one(levimesh: Levimesh, tmp_path: Path) -> None:
    (tmp_path / "state" / "admin.json").unlink()

    result = levimesh("portfolio")

    assert result.exit_code == 1
    assert result.stderr.startswith("error: no mesh is known here: run `levimesh up`")


def test_a_mesh_that_does_not_run_is_one_clear_line(edge: Edge, levimesh: Levimesh) -> None:
    edge.stop()

    result = levimesh("portfolio")

    assert result.exit_code == 1
    assert result.stderr == f"error: nothing listens at 127.0.0.1:{edge.port}; is the mesh running? [UNAVAILABLE]\n"


def test_a_user_is_created_with_roles_and_a_password_typed_twice(edge: Edge, levimesh: Levimesh) -> None:
    edge.answers["CreateUser"] = lambda request: pb.CreateUserResponse(
        user=user_pb2.User(username=request.username, roles=request.roles)
    )

    result = levimesh("users", "create", "bob", "--role", "viewer", "--role", "trader", typed="long enough\n" * 2)

    (call,) = edge.called("CreateUser")
    assert list(call.request.roles) == [policy_pb2.ROLE_VIEWER, policy_pb2.ROLE_TRADER]
    assert call.request.password == "long enough"
    assert "viewer, trader" in result.stdout
    assert "long enough" not in result.output


def test_a_password_typed_differently_the_second_time_creates_nobody(edge: Edge, levimesh: Levimesh) -> None:
    result = levimesh("users", "create", "bob", "--role", "viewer", typed="long enough\nlong enogh\n")

    assert result.exit_code != 0
    assert edge.calls == []
