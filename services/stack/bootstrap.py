"""What is done once in the life of a mesh, when it is up for the first time: its admin, and a strategy that trades."""

import json
import secrets

import grpc

from levimesh.auth.v1 import user_service_pb2, user_service_pb2_grpc
from levimesh.client import Client, details
from levimesh.client.profile import Profile
from levimesh.trading.v1 import trading_service_pb2
from services.runtime.channels import open_channel
from services.runtime.workload import WorkloadFiles
from services.stack.files import write_private
from services.stack.state import State

ADMIN = "admin"
STRATEGY = "signal-follower"

_USERS = user_service_pb2.DESCRIPTOR.services_by_name["UserService"]


async def create_admin(state: State, target: str, files: WorkloadFiles) -> None:
    """Create the first admin, with a generated password that is written to ``admin.json`` first.

    Doing it again after an interruption uses the same password, and succeeds. Raises grpc.aio.AioRpcError.
    """
    generated = not state.admin.exists()
    if generated:
        write_private(state.admin, json.dumps({"username": ADMIN, "password": secrets.token_urlsafe(18)}).encode())
    admin = json.loads(state.admin.read_text())
    request = user_service_pb2.CreateFirstAdminRequest(username=admin["username"], password=admin["password"])
    async with open_channel(_USERS, "auth", target, files) as channel:
        try:
            await user_service_pb2_grpc.UserServiceStub(channel).CreateFirstAdmin(request)
        except grpc.aio.AioRpcError as error:
            if details(error).reason != "ERROR_REASON_ADMIN_EXISTS":
                raise
            if generated:
                state.admin.unlink()


async def start_strategy(profile: Profile) -> None:
    """Let the strategy trade for the admin, through the gateway. Raises grpc.aio.AioRpcError."""
    async with Client.connect(profile) as mesh:
        await mesh.trading.StartStrategy(trading_service_pb2.StartStrategyRequest(strategy=STRATEGY))
