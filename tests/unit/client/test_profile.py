"""Where a client finds its mesh, and how the profile is kept."""

import json
from pathlib import Path

import pytest

from levimesh.client import Profile, ProfileError, Session
from levimesh.client.profile import credentials_file, load
from levimesh.client.session import SessionFile

STACK = "127.0.0.1:18443"
ELSEWHERE = "mesh.example.com:443"


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nobody has logged in and no stack runs."""
    monkeypatch.setenv("LEVIMESH_CREDENTIALS", str(tmp_path / "home" / "credentials.json"))
    monkeypatch.setenv("LEVIMESH_STATE", str(tmp_path / "state"))
    for name in ("LEVIMESH_API_KEY", "LEVIMESH_API_KEY_FILE", "LEVIMESH_GATEWAY", "LEVIMESH_CA"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """The state folder of a stack that runs."""
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "admin.json").write_text(json.dumps({"username": "admin", "password": "generated"}))
    (folder / "stack.json").write_text(json.dumps({"processes": [], "ports": {"gateway": 18443}}))
    return folder


def test_where_no_mesh_is_known_it_says_how_to_get_one() -> None:
    with pytest.raises(ProfileError, match=r"`levimesh up`, or `levimesh login USER --gateway HOST:PORT`"):
        load()


def a_login() -> SessionFile:
    """What ``levimesh login alice`` leaves behind."""
    kept = SessionFile(credentials_file(), ELSEWHERE, "alice", "/ca.pem")
    kept.write(Session("an access token", 123.0, "a refresh token"))
    return kept


def test_the_embedded_stack_is_found_with_its_own_port_and_authority(state: Path) -> None:
    ca = str(state / "certificates" / "ca.pem")

    assert load() == Profile(
        STACK, ca, "admin", "generated", session_file=SessionFile(state / "admin-session.json", STACK, "admin", ca)
    )


def test_a_stack_that_does_not_run_is_not_called(state: Path) -> None:
    (state / "stack.json").unlink()

    with pytest.raises(ProfileError, match="does not run; start it with `levimesh up`"):
        load()


def test_a_login_comes_before_the_embedded_stack(state: Path) -> None:
    kept = a_login()

    assert load() == Profile(ELSEWHERE, "/ca.pem", "alice", session_file=kept)
    assert kept.read() == Session("an access token", 123.0, "a refresh token")


def test_an_api_key_in_the_environment_comes_before_both(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEVIMESH_API_KEY", "lm_key")

    assert load() == Profile(STACK, str(state / "certificates" / "ca.pem"), api_key="lm_key")
    a_login()
    assert load() == Profile(ELSEWHERE, "/ca.pem", api_key="lm_key")


def test_an_api_key_needs_no_login_where_the_gateway_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LEVIMESH_API_KEY_FILE", str(tmp_path / "key"))
    monkeypatch.setenv("LEVIMESH_GATEWAY", ELSEWHERE)
    assert load() == Profile(ELSEWHERE, api_key_file=tmp_path / "key")

    monkeypatch.setenv("LEVIMESH_CA", "/ca.pem")
    assert load() == Profile(ELSEWHERE, "/ca.pem", api_key_file=tmp_path / "key")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"host": "x"}', "is not of this version: run `levimesh login` again"),
        ('{"gateway": "x", "username": "x", "ca": "", "session": {"x": 1}}', "is not of this version"),
    ],
)
def test_a_profile_that_makes_no_sense_is_named(content: str, problem: str) -> None:
    credentials_file().parent.mkdir()
    credentials_file().write_text(content)

    with pytest.raises(ProfileError, match=problem) as refused:
        load()

    assert str(credentials_file()) in str(refused.value)


def test_a_state_of_another_version_is_named(state: Path) -> None:
    (state / "stack.json").write_text(json.dumps({"processes": []}))

    with pytest.raises(ProfileError, match="is not the state of a mesh of this version: it lacks 'ports'"):
        load()


def test_secrets_are_not_shown() -> None:
    session = Session(access_token="secret", refresh_token="secret")

    assert "secret" not in repr(Profile(password="secret", session=session, api_key="secret"))
