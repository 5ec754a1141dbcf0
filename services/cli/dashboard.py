"""The live screen of ``levimesh up``: processes, and what the mesh does, read through the gateway like any client."""

import asyncio
from typing import Any

import grpc
from rich.console import Group, RenderableType
from rich.text import Text

from levimesh.client import Client, Profile
from levimesh.trading.v1 import portfolio_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from services.cli.display import gain, money
from services.cli.watch import Board
from services.stack import control, screen
from services.stack.state import State

_SECONDS = 1.0


class Dashboard:
    """Keeps itself current while ``follow`` runs."""

    def __init__(self, state: State, status: dict[str, Any]) -> None:
        self._state = state
        self._status = status
        self._board = Board()
        self._portfolio: portfolio_pb2.Portfolio | None = None

    async def follow(self, profile: Profile) -> None:
        """Read on for ever. Raises an ExceptionGroup of what ends it: control.NotRunning when the mesh is stopped."""
        async with Client.connect(profile) as mesh, asyncio.TaskGroup() as reading:
            reading.create_task(self._read_status())
            reading.create_task(self._read_board(mesh))
            reading.create_task(self._read_portfolio(mesh))

    async def _read_status(self) -> None:
        while True:
            self._status = await control.ask(self._state.control_socket, "status")
            await asyncio.sleep(_SECONDS)

    async def _read_board(self, mesh: Client) -> None:
        while True:
            try:
                await self._board.follow(mesh)
            except* grpc.aio.AioRpcError:
                await asyncio.sleep(_SECONDS)

    async def _read_portfolio(self, mesh: Client) -> None:
        while True:
            try:
                self._portfolio = (await mesh.trading.GetPortfolio(pb.GetPortfolioRequest())).portfolio
            except grpc.aio.AioRpcError:
                self._portfolio = None
            await asyncio.sleep(_SECONDS)

    def __rich__(self) -> RenderableType:
        return Group(screen.processes(self._status), screen.progress(self._status), self._equity(), self._board)

    def _equity(self) -> RenderableType:
        if self._portfolio is None:
            return Text("Equity unknown", style="dim")
        mine = self._portfolio
        profit = Text.assemble("  realized ", gain(mine.realized_pnl), "  unrealized ", gain(mine.unrealized_pnl))
        return Text.assemble("Equity ", (f"{money(mine.equity)} {mine.currency}", "bold"), profit)
