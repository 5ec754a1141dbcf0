"""What is done where the stack itself does not run, as in docker-compose.yml.

``python -m services.stack.provision certificates FOLDER KEY_FILE`` issues a certificate for every workload;
``python -m services.stack.provision keep-certificates FOLDER KEY_FILE`` does, and renews them until it is told to stop;
``python -m services.stack.provision admin HOST:PORT CERTIFICATES`` creates the first admin and prints the password.
"""

import asyncio
import logging
import secrets
import signal
import sys
from contextlib import suppress
from pathlib import Path

import grpc

from levimesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from levimesh.client import explain
from services.runtime.channels import open_channel
from services.runtime.logging import configure
from services.runtime.workload import IdentityUnreadable, WorkloadFiles
from services.stack.bootstrap import ADMIN
from services.stack.certificates import Authority

_log = logging.getLogger(__name__)

_KEEP_SECONDS = 5.0
_USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]


def issue(folder: Path, key_file: Path) -> list[str]:
    """Issue what is missing or half expired; returns the names issued."""
    return Authority.open(folder, key_file).renew()


async def keep(folder: Path, key_file: Path, stop: asyncio.Event) -> None:
    """Issue what is due, again and again until ``stop``."""
    while not stop.is_set():
        if issued := await asyncio.to_thread(issue, folder, key_file):
            _log.info("certificates issued", extra={"workloads": issued})
        with suppress(TimeoutError):
            async with asyncio.timeout(_KEEP_SECONDS):
                await stop.wait()


async def _keep_until_told(folder: Path, key_file: Path) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await keep(folder, key_file, stop)


async def create_admin(target: str, certificates: Path) -> str:
    """Create the first admin by the auth service at ``target``; returns the generated password.

    Raises grpc.aio.AioRpcError, with ADMIN_EXISTS when there is one.
    """
    folder = certificates / "stack"
    files = WorkloadFiles(folder / "certificate.pem", folder / "private_key.pem", certificates / "ca.pem")
    password = secrets.token_urlsafe(18)
    async with open_channel(_USERS, "auth", target, files) as channel:
        request = user_service_pb2.CreateFirstAdminRequest(username=ADMIN, password=password)
        await user_service_pb2_grpc.UserServiceStub(channel).CreateFirstAdmin(request)
    return password


def main(arguments: list[str]) -> str:
    """What the command line prints. Exits with an explanation when something is wrong."""
    match arguments:
        case ["certificates", folder, key_file]:
            return f"issued: {', '.join(issue(Path(folder), Path(key_file))) or 'nothing, all are good'}"
        case ["keep-certificates", folder, key_file]:
            configure("certificates")
            asyncio.run(_keep_until_told(Path(folder), Path(key_file)))
            return "stopped"
        case ["admin", target, certificates]:
            try:
                return f"user {ADMIN}, password {asyncio.run(create_admin(target, Path(certificates)))}"
            except grpc.aio.AioRpcError as error:
                sys.exit(explain(error))
            except (OSError, IdentityUnreadable) as error:
                sys.exit(f"the certificates in {certificates} cannot be used: {error}")
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    sys.stdout.write(main(sys.argv[1:]) + "\n")
