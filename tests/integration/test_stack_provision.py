"""Certificates and the first admin, as docker-compose.yml makes them."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from levimesh.client import details
from services.stack.bootstrap import ADMIN
from services.stack.provision import create_admin, issue, main
from tests.auth import auth_settings, running_auth


def test_a_certificate_is_issued_for_every_workload_once(tmp_path: Path) -> None:
    folder, key = tmp_path / "certificates", tmp_path / "authority" / "private_key.pem"
    assert "trading" in issue(folder, key)
    assert issue(folder, key) == []
    assert main(["certificates", str(folder), str(key)]) == "issued: nothing, all are good"


async def test_certificates_are_kept_until_it_is_told_to_stop(tmp_path: Path) -> None:
    folder, key = tmp_path / "certificates", tmp_path / "authority" / "private_key.pem"
    arguments = ["-m", "services.stack.provision", "keep-certificates", str(folder), str(key)]
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(30):
        while not (folder / "edge" / "certificate.pem").exists():  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(0.02)
        process.terminate()
        output, _ = await process.communicate()

    assert (process.returncode, output) == (0, b"stopped\n")
    assert issue(folder, key) == []


async def test_the_first_admin_is_created_once(database_url: Callable[[str], str], certificates: Path) -> None:
    async with running_auth(auth_settings(database_url("auth")), certificates) as running:
        password = await create_admin(running.served.target, certificates)
        assert await running.login(ADMIN, password)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await create_admin(running.served.target, certificates)
    assert details(refused.value).reason == "ERROR_REASON_ADMIN_EXISTS"


def test_anything_else_is_explained() -> None:
    with pytest.raises(SystemExit, match=r"python -m services\.stack\.provision"):
        main(["something"])


def test_without_certificates_no_admin_is_made_and_it_is_said_why(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"the certificates in {tmp_path} cannot be used: .*No such file"):
        main(["admin", "localhost:1", str(tmp_path)])
