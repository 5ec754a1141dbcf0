"""A whole mesh of its own: `levimesh up --detach` in a temporary folder, on ports of its own."""

import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from levimesh.client import Profile
from services.stack.ports import find_free
from services.stack.settings import StackSettings
from services.stack.state import Memory, State

LEVIMESH = str(Path(sys.executable).with_name("levimesh"))
BUF = str(Path(sys.executable).with_name("buf"))
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Mesh:
    """A running mesh."""

    state: Path
    environment: Mapping[str, str]

    @property
    def settings(self) -> StackSettings:
        ports = {name.removeprefix("LEVIMESH_").lower(): value for name, value in self.environment.items()}
        own = {name: int(value) for name, value in ports.items() if name.endswith("_port")}
        return StackSettings(state=self.state, **own)  # type: ignore[arg-type] # ports only

    @property
    def plain(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway_plain_port}"

    @property
    def tls(self) -> str:
        return f"https://localhost:{self.settings.gateway_port}"

    @property
    def authority(self) -> Path:
        return self.state / "certificates" / "ca.pem"

    @cached_property
    def admin(self) -> dict[str, str]:
        content: dict[str, str] = json.loads((self.state / "admin.json").read_text())
        return content

    @property
    def profile(self) -> Profile:
        gateway = f"localhost:{self.settings.gateway_port}"
        return Profile(gateway, str(self.authority), self.admin["username"], self.admin["password"])

    def levimesh(self, *arguments: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run the command line against this mesh."""
        return subprocess.run(  # noqa: S603 - our own command
            [LEVIMESH, *arguments],
            env={**os.environ, **self.environment},
            check=check,
            capture_output=True,
            text=True,
            timeout=240,
        )

    def pid_of(self, process: str) -> int:
        """The process id of a part of the mesh."""
        processes = json.loads((self.state / "stack.json").read_text())["processes"]
        return next(int(each["pid"]) for each in processes if each["name"] == process)

    def wait_until_whole(self, limit: float = 120) -> float:
        """Wait until the command line calls the mesh ready, and lacking nothing; returns the seconds that took."""
        started = time.monotonic()
        while time.monotonic() - started < limit:
            status = self.levimesh("status", check=False)
            if status.returncode == 0 and "without" not in status.stdout:
                return time.monotonic() - started
        raise AssertionError(self.levimesh("status", check=False).stdout)

    def curl(self, path: str, *arguments: str, token: str = "", check: bool = True, patient: bool = False) -> str:
        """What `curl` prints for ``path`` of the plain listener.

        A patient one does what an answer 503 asks for: it tries again in a second. What ``-w`` writes comes at the end.
        """
        bearer = ["-H", f"authorization: Bearer {token}"] if token else []
        patience = ["--retry", "20", "--retry-delay", "1"] if patient else []
        with tempfile.NamedTemporaryFile("r+") as answer:  # unlike standard output, it holds the last try only
            command = ["curl", "-sS", "-N", *patience, *bearer, "-o", answer.name, *arguments, f"{self.plain}{path}"]
            done = subprocess.run(command, check=check, stdout=subprocess.PIPE, text=True, timeout=60)  # noqa: S603 - our own arguments
            return answer.read() + done.stdout

    def buf_curl(self, method: str, request: Mapping[str, Any], token: str = "") -> dict[str, Any]:
        """The answer of ``method`` (``levimesh.auth.v1.AuthService/Login``) to `buf curl` over TLS."""
        bearer = ["--header", f"authorization: Bearer {token}"] if token else []
        command = [BUF, "curl", "--protocol", "grpc", "--schema", ".", "--cacert", str(self.authority)]
        command += [*bearer, "--data", json.dumps(request), f"{self.tls}/{method}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60, cwd=ROOT)  # noqa: S603 - our own arguments
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def token(self) -> str:
        """An access token of the admin, by curl."""
        body = ("-H", "content-type: application/json", "-d", json.dumps(self.admin))
        answer = self.curl("/v1/auth/login", *body, patient=True)
        token: str = json.loads(answer)["access_token"]
        return token


@contextmanager
def a_mesh(*arguments: str, memory: Memory | None = None, **environment: str) -> Iterator[Mesh]:
    """Bring a mesh up, and down in the end, whatever happens. With ``memory`` it is one that has been up before."""
    # Not below pytest's own folder: as root PostgreSQL runs as somebody else, who may not look into that.
    with tempfile.TemporaryDirectory(prefix="levimesh-") as folder:
        state = Path(folder, "state")
        mesh = Mesh(state, {"LEVIMESH_STATE": str(state), **_ports(), **environment})
        if memory is not None:
            memory.save(State(state))
        try:
            up = mesh.levimesh("up", "--detach", *arguments, check=False)
            assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
            yield mesh
        finally:
            mesh.levimesh("down", check=False)


def _ports() -> dict[str, str]:
    """Free ports for everything; the metrics ports of the services are a hundred above them."""
    names = [f"LEVIMESH_{name.upper()}" for name in StackSettings.model_fields if name.endswith("_port")]
    free = find_free(len(names), first=20_000 + secrets.randbelow(8_000))
    return {name: str(port) for name, port in zip(names, free, strict=True)}
