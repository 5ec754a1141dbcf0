"""PolicyService: wire in, wire out."""

from typing import Any

import grpc

from levimesh.auth.v1 import policy_service_pb2 as pb
from levimesh.auth.v1 import policy_service_pb2_grpc as pb_grpc
from services.auth import converters as convert
from services.auth import edge_converters
from services.auth.domain.users import RateTier
from services.auth.use_cases.limits import ReadLimits
from services.runtime.identity import current_caller, current_user

Context = grpc.aio.ServicerContext[Any, Any]


class PolicyServicer(pb_grpc.PolicyServiceServicer):
    """See the contract."""

    def __init__(self, policy: pb.GetPolicyResponse, read_limits: ReadLimits) -> None:
        self._policy = policy
        self._read_limits = read_limits

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Context) -> pb.GetPolicyResponse:
        return self._policy

    async def GetLimits(self, request: pb.GetLimitsRequest, context: Context) -> pb.GetLimitsResponse:
        user = current_user()
        limits = await self._read_limits(user.user_id, current_caller().address, user.tier, user.roles, user.scopes)
        return pb.GetLimitsResponse(
            tier=convert.tier_to_pb(RateTier(user.tier)),
            limits=[edge_converters.limit_to_pb(allowance, balance) for allowance, balance in limits],
        )
