"""Commands in this process, against a server that looks like an embedded stack."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli import app
from tests.edge import PASSWORD, Edge, running_edge

Levimesh = Callable[..., Result]


@pytest.fixture
def edge(certificates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Edge]:
    """A TLS server like the gateway's, which the commands take for that of an embedded stack; alice is its admin."""
    monkeypatch.setenv("LEVIMESH_CREDENTIALS", str(tmp_path / "credentials.json"))
    monkeypatch.setenv("LEVIMESH_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("LEVIMESH_API_KEY", raising=False)
    monkeypatch.delenv("LEVIMESH_API_KEY_FILE", raising=False)
    with running_edge(certificates) as running:
        state = tmp_path / "state"
        state.mkdir()
        (state / "certificates").symlink_to(certificates)
        (state / "admin.json").write_text(json.dumps({"username": "alice", "password": PASSWORD}))
        (state / "stack.json").write_text(json.dumps({"ports": {"gateway": running.port}}))
        yield running


@pytest.fixture
def levimesh(edge: Edge) -> Levimesh:
    """Runs a command; its output is not a terminal, so nothing is cut."""

    def run(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner().invoke(app, arguments, input=typed)

    return run


def complaint(result: Result) -> str:
    """What a usage error says, without the box around it."""
    return " ".join(result.stderr.replace("│", " ").split())
