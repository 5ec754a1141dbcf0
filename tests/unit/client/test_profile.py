"""Where a client finds its mesh, and how the profile is kept."""

import json
from pathlib import Path

import pytest

from levimesh.client import Profile, ProfileError
from levimesh.client.profile import credentials_file, load, save


@pytest.fixture(autouse=True)
def nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which nobody has logged in and no stack runs."""
    monkeypatch.setenv("LEVIMESH_CREDENTIALS", str(tmp_path / "home" / "credentials.json"))
    monkeypatch.setenv("LEVIMESH_STATE", str(tmp_path / "state"))


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


def test_the_embedded_stack_is_found_with_its_own_port_and_authority(state: Path) -> None:
    assert load() == Profile("127.0.0.1:18443", str(state / "certificates" / "ca.pem"), "admin", "generated")


def test_a_stack_that_does_not_run_is_not_called(state: Path) -> None:
    (state / "stack.json").unlink()

    with pytest.raises(ProfileError, match="does not run; start it with `levimesh up`"):
        load()


def test_a_login_comes_before_the_embedded_stack_and_keeps_no_password(state: Path) -> None:
    profile = Profile("mesh.example.com:443", "/ca.pem", "alice", "secret", "token", 123.0)

    path = save(profile)

    assert load() == Profile("mesh.example.com:443", "/ca.pem", "alice", access_token="token", expires_at=123.0)
    assert "secret" not in path.read_text()


def test_a_kept_profile_is_readable_by_its_owner_only() -> None:
    path = save(Profile(access_token="token"))

    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert list(path.parent.iterdir()) == [path]


def test_a_profile_that_was_readable_by_others_is_not_any_more() -> None:
    path = credentials_file()
    path.parent.mkdir()
    path.touch(mode=0o644)

    save(Profile(access_token="token"))

    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ('{"host": "x"}', "is not of this version: run `levimesh login` again"),
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
    assert "secret" not in repr(Profile(password="secret", access_token="secret"))
