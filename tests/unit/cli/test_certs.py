import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from services.cli import app
from services.stack.certificates import WORKLOADS, Authority
from services.stack.state import State


def levimesh(state: State, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--state", str(state.path)])


def listed(state: State) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(levimesh(state, "certs", "list", "--json").stdout)
    return content


def serials(state: State) -> dict[str, str]:
    return {each["workload"]: each["serial"] for each in listed(state)["certificates"]}


@pytest.fixture
def state(tmp_path: Path) -> State:
    """The state folder of a mesh that has been stopped."""
    made = State.at(tmp_path / "state")
    made.make()
    Authority.open(made.certificates, made.authority_key).renew()
    return made


def test_every_certificate_is_listed_with_what_it_says(state: State) -> None:
    found = {each["workload"]: each for each in listed(state)["certificates"]}

    assert found.keys() == {*WORKLOADS, "edge"}
    assert found["trading"]["spiffe_id"] == "spiffe://levimesh/trading"
    assert found["edge"]["spiffe_id"] == ""
    assert found["trading"]["not_before"] < found["trading"]["not_after"]
    assert found["trading"]["in_use"] is None, "nothing runs"
    (authority,) = listed(state)["authorities"]
    assert authority["issues"]
    assert {each["issuer"] for each in found.values()} == {authority["name"]}


def test_the_list_for_people_says_the_same(state: State) -> None:
    shown = levimesh(state, "certs", "list").stdout

    for workload, serial in serials(state).items():
        assert workload in shown
        assert serial in shown
    assert "spiffe://levimesh/trading" in shown


def test_a_certificate_is_issued_for_somebody_new(state: State) -> None:
    done = levimesh(state, "certs", "issue", "newcomer")

    assert str(state.certificates / "newcomer") in done.stdout
    assert "newcomer" in serials(state)


def test_the_named_certificates_are_replaced(state: State) -> None:
    before = serials(state)

    assert levimesh(state, "certs", "rotate", "auth", "edge").stdout == "Replaced: auth, edge\n"

    assert {name for name, serial in serials(state).items() if serial != before[name]} == {"auth", "edge"}


def test_all_certificates_are_replaced(state: State) -> None:
    before = serials(state)

    assert levimesh(state, "certs", "rotate").exit_code == 0

    assert not {name for name, serial in serials(state).items() if serial == before[name]}


def test_the_authority_of_a_mesh_that_does_not_run_is_replaced_at_once(state: State) -> None:
    before, (old,) = serials(state), listed(state)["authorities"]

    assert levimesh(state, "certs", "rotate", "--authority").exit_code == 0

    (new,) = listed(state)["authorities"]
    assert new["serial"] != old["serial"]
    assert not {name for name, serial in serials(state).items() if serial == before[name]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["issue", "Trading"], "'Trading' cannot be the name of a workload"),
        (["issue", "edge"], "'edge' cannot be the name of a workload"),
        (["issue", "../auth"], "'../auth' cannot be the name of a workload"),
        (["rotate", "nobody"], "there is no certificate of nobody; there are auth, edge, gateway"),
        (["rotate", "auth", "--authority"], "name no workloads"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(state: State, arguments: list[str], says: str) -> None:
    before = serials(state)

    done = levimesh(state, "certs", *arguments)

    assert done.exit_code != 0
    assert says in " ".join(done.stderr.replace("│", " ").split())
    assert serials(state) == before


@pytest.mark.parametrize("command", ["list", "issue", "rotate"])
def test_where_there_is_no_mesh_it_is_said_how_to_make_one(tmp_path: Path, command: str) -> None:
    nowhere = State.at(tmp_path / "nowhere")

    done = levimesh(nowhere, "certs", command, *(["x"] if command == "issue" else []))

    assert done.exit_code == 1
    assert "make a mesh with: levimesh up" in done.stderr
    assert not nowhere.path.exists()


def test_a_key_of_the_authority_that_is_none_is_told_in_words(state: State) -> None:
    state.authority_key.write_text("garbage")

    done = levimesh(state, "certs", "list")

    assert done.exit_code == 1
    assert f"the certificates in {state.path} cannot be used" in done.stderr.replace("\n", "")
