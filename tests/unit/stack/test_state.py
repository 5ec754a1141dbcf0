import base64
from pathlib import Path

import pytest

from services.stack.state import Memory, Secrets, State, StateUnusable


def test_secrets_are_generated_once_and_readable_by_their_owner_only(tmp_path: Path) -> None:
    state = State.at(tmp_path)

    first = Secrets.of(state)

    assert Secrets.of(state) == first
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_every_secret_is_another_one(tmp_path: Path) -> None:
    secrets = Secrets.of(State.at(tmp_path))

    passwords = [secrets.postgres, secrets.redis, *secrets.roles.values()]

    assert len(set(passwords)) == len(passwords) == 6
    assert len(base64.b64decode(secrets.key_encryption)) == 32


def test_secrets_do_not_show_when_they_are_printed(tmp_path: Path) -> None:
    secrets = Secrets.of(State.at(tmp_path))

    assert secrets.postgres not in repr(secrets)
    assert secrets.roles["auth"] not in repr(secrets)


def test_a_mesh_remembers_its_source_and_what_it_has_done(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    assert Memory.of(state) is None

    Memory("replay:/data", 300.0).with_done("admin").save(state)

    assert Memory.of(state) == Memory("replay:/data", 300.0, ["admin"])


def test_a_state_folder_is_closed_to_others(tmp_path: Path) -> None:
    state = State.at(tmp_path / "mesh" / "state")

    state.make()

    assert state.path.stat().st_mode & 0o777 == 0o700


def test_sockets_move_out_of_a_state_folder_whose_path_is_too_long_for_them(tmp_path: Path) -> None:
    short, long = State.at(Path("/srv/mesh")), State.at(tmp_path / ("x" * 100))

    assert short.sockets == Path("/srv/mesh/run")
    assert long.path not in long.sockets.parents
    assert len(str(long.control_socket)) < 107
    assert long.sockets == State.at(long.path).sockets
    assert long.sockets != State.at(tmp_path / ("y" * 100)).sockets


@pytest.mark.parametrize("kind", ["open to others", "a link", "a file"])
def test_a_folder_of_sockets_that_others_may_have_made_is_not_used(tmp_path: Path, kind: str) -> None:
    state = State.at(tmp_path)
    if kind == "open to others":
        state.sockets.mkdir()
        state.sockets.chmod(0o770)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        state.sockets.symlink_to(tmp_path / "elsewhere")
    else:
        state.sockets.touch(mode=0o600)

    with pytest.raises(PermissionError, match=f"{state.sockets} is no folder that is yours alone"):
        state.make_sockets()


def test_a_folder_of_sockets_is_used_again(tmp_path: Path) -> None:
    state = State.at(tmp_path)
    state.make_sockets()
    state.make_sockets()

    assert state.sockets.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", ["{", "[]", '{"unheard": "of"}', '"hunter2"'])
@pytest.mark.parametrize(("name", "kind"), [("mesh.json", Memory), ("secrets.json", Secrets)])
def test_a_file_that_no_mesh_wrote_is_named_and_not_quoted(
    tmp_path: Path, name: str, kind: type[Memory | Secrets], content: str
) -> None:
    (tmp_path / name).write_text(content)

    with pytest.raises(StateUnusable, match=f"{tmp_path / name} cannot be read") as refused:
        kind.of(State.at(tmp_path))

    assert "hunter2" not in str(refused.value)


def test_what_cannot_be_a_state_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file", tmp_path / "file" / "state"):
        with pytest.raises(StateUnusable, match=f"{path} cannot be a state folder: .*--state"):
            State.at(path).make()
