"""How long calls may take, by the contract.

The service config of a channel could say the same (``timeout``), but gRPC 1.85 cuts such a deadline short by up to two
seconds, and does not tell the server of it. So every channel has an interceptor that asks here.
"""

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from levimesh.policy.v1 import policy_pb2


class Deadlines:
    """The deadlines of the methods of some services."""

    def __init__(self, *services: ServiceDescriptor) -> None:
        self._seconds: dict[str, float] = {}
        for service in services:
            for method in service.methods:
                policy = method.GetOptions().Extensions[policy_pb2.method]
                if policy.HasField("deadline"):
                    seconds = policy.deadline.ToTimedelta().total_seconds()
                    self._seconds[f"/{service.full_name}/{method.name}"] = seconds

    def limit(self, call: grpc.aio.ClientCallDetails, *others: float | None) -> float | None:
        """Seconds that ``call`` may take: what its caller wants, the contract allows or ``others`` leave, whichever is
        least; None when nothing limits it.
        """
        limits = (call.timeout, self._seconds.get(path_of(call)), *others)
        return min((limit for limit in limits if limit is not None), default=None)


def path_of(call: grpc.aio.ClientCallDetails) -> str:
    """The method that ``call`` is for, ``/package.Service/Method``."""
    method: str | bytes = call.method  # typed as text, but grpc.aio gives bytes
    return method.decode() if isinstance(method, bytes) else method
