"""``levimesh login``, ``logout``, ``whoami``: who to be."""

import json
from pathlib import Path
from typing import Any

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


def kept_session(path: Path) -> dict[str, Any]:
    session: dict[str, Any] = json.loads(path.read_text())["session"]
    return session


def test_the_admin_of_the_embedded_stack_needs_no_login(edge: Edge, levimesh: Levimesh) -> None:
    assert [[word.strip() for word in line.split(maxsplit=1)] for line in levimesh("whoami").stdout.splitlines()] == [
        ["user", "alice"],
        ["roles", "trader, admin"],
        ["gateway", f"127.0.0.1:{edge.port}"],
        ["by", "the embedded stack's admin"],
    ]


def test_the_admin_of_the_embedded_stack_keeps_a_session(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    path = tmp_path / "state" / "admin-session.json"

    levimesh("whoami")
    levimesh("whoami")
    edge.expired.add("token-1")
    levimesh("whoami")

    assert [call.method for call in edge.calls if call.method != "GetCurrentUser"] == ["Login", "RefreshSession"]
    assert kept_session(path)["access_token"] == "token-2"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_login_is_remembered_without_the_password(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    result = levimesh("login", "alice", typed=f"{PASSWORD}\n")

    path = tmp_path / "credentials.json"
    assert result.exit_code == 0
    assert json.loads(path.read_text())["gateway"] == f"127.0.0.1:{edge.port}"
    assert kept_session(path)["access_token"] == "token-1"
    assert PASSWORD not in result.output + path.read_text()
    assert "levimesh login" in levimesh("whoami").stdout
    assert [call.token for call in edge.called("GetCurrentUser")] == ["token-1"], "and there was no other login"


def test_a_code_is_asked_for_when_it_is_needed(edge: Edge, levimesh: Levimesh) -> None:
    edge.code = "123456"

    result = levimesh("login", "alice", typed=f"{PASSWORD}\n123456\n")

    assert result.exit_code == 0
    assert [call.request.second_factor for call in edge.called("Login")] == ["", "123456"]


def test_a_code_may_be_given_with_the_command(edge: Edge, levimesh: Levimesh) -> None:
    edge.code = "123456"

    assert levimesh("login", "alice", "--code", "123456", typed=f"{PASSWORD}\n").exit_code == 0
    assert [call.request.second_factor for call in edge.called("Login")] == ["123456"]


def test_any_command_of_the_embedded_admin_asks_for_a_code_when_a_login_needs_one(
    edge: Edge, levimesh: Levimesh
) -> None:
    edge.code = "123456"

    assert levimesh("whoami", typed="123456\n").exit_code == 0
    assert levimesh("whoami").exit_code == 0, "the session is kept"


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


@pytest.mark.parametrize(
    "gateway", ["localhost", "https://localhost:8443", "localhost:port", "localhost:99999", "localhost:0"]
)
def test_a_gateway_that_is_no_address_is_refused(edge: Edge, levimesh: Levimesh, gateway: str) -> None:
    result = levimesh("login", "alice", "--gateway", gateway, typed="x\n")

    assert result.exit_code == 2
    assert "is not HOST:PORT" in complaint(result)
    assert edge.calls == []


def test_a_session_that_was_ended_says_what_to_do(edge: Edge, levimesh: Levimesh) -> None:
    levimesh("login", "alice", typed=f"{PASSWORD}\n")
    edge.ended.add("token-1")
    edge.refreshable.clear()

    result = levimesh("whoami")

    assert result.exit_code == 1
    assert "has expired or was ended: run `levimesh login alice --gateway" in result.stderr


def test_a_logout_ends_the_session_at_the_mesh_and_may_be_repeated(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    levimesh("login", "alice", typed=f"{PASSWORD}\n")

    first, second = levimesh("logout"), levimesh("logout")

    assert (first.exit_code, second.exit_code, second.stdout) == (0, 0, "Nobody is logged in.\n")
    assert edge.ended == {"token-1"}
    assert not (tmp_path / "credentials.json").exists()


def test_a_logout_of_the_embedded_admin_ends_the_kept_session(edge: Edge, levimesh: Levimesh) -> None:
    levimesh("whoami")

    levimesh("logout")
    assert edge.ended == {"token-1"}

    levimesh("whoami")
    assert len(edge.called("Login")) == 2


def test_the_embedded_admin_is_not_logged_in_to_be_logged_out(edge: Edge, levimesh: Levimesh) -> None:
    levimesh("whoami")
    edge.ended.add("token-1")
    edge.refreshable.clear()

    assert levimesh("logout").exit_code == 0
    assert len(edge.called("Login")) == 1


def test_a_session_that_has_ended_already_is_forgotten_without_another_login(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    levimesh("login", "alice", typed=f"{PASSWORD}\n")
    edge.ended.add("token-1")
    edge.refreshable.clear()

    assert levimesh("logout").exit_code == 0
    assert not (tmp_path / "credentials.json").exists()
    assert len(edge.called("Login")) == 1


def test_a_logout_from_a_mesh_that_is_away_forgets_the_session_and_says_that_it_lives_on(
    edge: Edge, levimesh: Levimesh, tmp_path: Path
) -> None:
    levimesh("login", "alice", typed=f"{PASSWORD}\n")
    edge.stop()

    result = levimesh("logout")

    assert result.exit_code == 0
    assert "lives on until it expires" in result.stderr
    assert not (tmp_path / "credentials.json").exists()


def test_credentials_that_make_no_sense_are_forgotten(edge: Edge, levimesh: Levimesh, tmp_path: Path) -> None:
    (tmp_path / "credentials.json").write_text("{")

    assert levimesh("logout").exit_code == 0
    assert not (tmp_path / "credentials.json").exists()


def test_an_api_key_in_the_environment_is_who_the_commands_are(
    edge: Edge, levimesh: Levimesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    edge.api_keys.add("lm_abcdefgh_secret")
    monkeypatch.setenv("LEVIMESH_API_KEY", "lm_abcdefgh_secret")

    assert "an API key in the environment" in levimesh("whoami").stdout
    assert edge.called("Login") == []


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
