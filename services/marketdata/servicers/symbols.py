"""SymbolService: wire in, wire out."""

from typing import Any

import grpc

from levimesh.marketdata.v1 import symbol_pb2
from levimesh.marketdata.v1 import symbol_service_pb2 as pb
from levimesh.marketdata.v1 import symbol_service_pb2_grpc as pb_grpc
from services.marketdata.catalog import Catalog
from services.marketdata.converters import symbols as convert
from services.marketdata.domain.market import SymbolState
from services.marketdata.use_cases.symbols import ChangeSymbol, CreateSymbol, DeleteSymbol

Context = grpc.aio.ServicerContext[Any, Any]


class SymbolServicer(pb_grpc.SymbolServiceServicer):
    """See the contract."""

    def __init__(self, catalog: Catalog, create: CreateSymbol, change: ChangeSymbol, delete: DeleteSymbol) -> None:
        self._catalog = catalog
        self._create = create
        self._change = change
        self._delete = delete

    async def GetSymbol(self, request: pb.GetSymbolRequest, context: Context) -> pb.GetSymbolResponse:
        return pb.GetSymbolResponse(symbol=convert.symbol_to_pb(self._catalog.get(request.symbol)))

    async def CreateSymbol(self, request: pb.CreateSymbolRequest, context: Context) -> pb.CreateSymbolResponse:
        created = await self._create(convert.new_symbol_from_pb(request))
        return pb.CreateSymbolResponse(symbol=convert.symbol_to_pb(created))

    async def UpdateSymbol(self, request: pb.UpdateSymbolRequest, context: Context) -> pb.UpdateSymbolResponse:
        changed = await self._change(request.symbol, convert.changes_from_pb(request), request.expected_version)
        return pb.UpdateSymbolResponse(symbol=convert.symbol_to_pb(changed))

    async def DeleteSymbol(self, request: pb.DeleteSymbolRequest, context: Context) -> pb.DeleteSymbolResponse:
        await self._delete(request.symbol)
        return pb.DeleteSymbolResponse()

    async def ActivateSymbol(self, request: pb.ActivateSymbolRequest, context: Context) -> pb.ActivateSymbolResponse:
        return pb.ActivateSymbolResponse(symbol=await self._in_state(request.symbol, SymbolState.ACTIVE))

    async def DeactivateSymbol(
        self, request: pb.DeactivateSymbolRequest, context: Context
    ) -> pb.DeactivateSymbolResponse:
        return pb.DeactivateSymbolResponse(symbol=await self._in_state(request.symbol, SymbolState.INACTIVE))

    async def _in_state(self, symbol: str, state: SymbolState) -> symbol_pb2.Symbol:
        return convert.symbol_to_pb(await self._change(symbol, {"state": state}))
