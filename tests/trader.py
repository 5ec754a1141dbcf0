"""A user who trades, with what may be asked of the trading service."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from levimesh.trading.v1 import order_pb2, portfolio_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from tests.trading_sources import BTC, number

if TYPE_CHECKING:
    from levimesh.trading.v1.trading_service_pb2_grpc import TradingServiceAsyncStub

BUY, SELL = order_pb2.SIDE_BUY, order_pb2.SIDE_SELL


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until ``condition`` holds."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for is behind a network
            await asyncio.sleep(0.01)


@dataclass(frozen=True)
class Trader:
    """A user at the gateway."""

    stub: "TradingServiceAsyncStub"
    metadata: tuple[tuple[str, str], ...]

    async def submit(
        self,
        side: "order_pb2.Side.ValueType" = BUY,
        quantity: str = "1",
        limit: str | None = None,
        *,
        symbol: str = BTC,
        client_id: str = "",
    ) -> order_pb2.Order:
        """A limit order if ``limit`` is given, else a market order."""
        request = pb.SubmitOrderRequest(
            client_order_id=client_id or str(uuid4()),
            symbol=symbol,
            side=side,
            type=order_pb2.ORDER_TYPE_LIMIT if limit else order_pb2.ORDER_TYPE_MARKET,
            quantity=number(quantity),
            limit_price=number(limit) if limit else None,
        )
        return (await self.stub.SubmitOrder(request, metadata=self.metadata)).order

    async def cancel(self, order_id: str) -> order_pb2.Order:
        """The order without its open rest."""
        return (await self.stub.CancelOrder(pb.CancelOrderRequest(order_id=order_id), metadata=self.metadata)).order

    async def order(self, order_id: str) -> order_pb2.Order:
        """The order as it is now."""
        return (await self.stub.GetOrder(pb.GetOrderRequest(order_id=order_id), metadata=self.metadata)).order

    async def orders(self, **request: Any) -> Sequence[order_pb2.Order]:
        """The newest orders first."""
        return (await self.stub.ListOrders(pb.ListOrdersRequest(**request), metadata=self.metadata)).orders

    async def fills(self, **request: Any) -> Sequence[order_pb2.Fill]:
        """The newest fills first."""
        return (await self.stub.ListFills(pb.ListFillsRequest(**request), metadata=self.metadata)).fills

    async def portfolio(self) -> portfolio_pb2.Portfolio:
        """What the account owns."""
        return (await self.stub.GetPortfolio(pb.GetPortfolioRequest(), metadata=self.metadata)).portfolio

    async def becomes(self, order_id: str, status: "order_pb2.OrderStatus.ValueType") -> order_pb2.Order:
        """The order, once it has that status."""

        async def has_become() -> bool:
            return (await self.order(order_id)).status == status

        await until(has_become)
        return await self.order(order_id)

    async def sees(self, price: str, symbol: str = BTC) -> None:
        """Wait until the newest price that the service knows is ``price``; the trader must hold some of the symbol."""

        async def is_seen() -> bool:
            positions = (await self.portfolio()).positions
            return any(p.symbol == symbol and p.last_price.value == price for p in positions)

        await until(is_seen)
