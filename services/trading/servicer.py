"""TradingService: wire in, wire out."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
from google.protobuf.message import Message

from levimesh.trading.v1 import order_pb2
from levimesh.trading.v1 import trading_service_pb2 as pb
from levimesh.trading.v1 import trading_service_pb2_grpc as pb_grpc
from services.runtime.broadcast import Broadcast
from services.runtime.identity import current_user
from services.runtime.journal import Entry
from services.runtime.pagination import decode_number, encode_page_token
from services.runtime.streaming import stream_responses
from services.trading import converters as convert
from services.trading.domain.accounts import account_id_of
from services.trading.use_cases.cancel_order import CancelOrder
from services.trading.use_cases.read_account import GetOrder, GetPortfolio, ListFills, ListOrders
from services.trading.use_cases.run_strategies import Strategies
from services.trading.use_cases.submit_order import SubmitOrder

Context = grpc.aio.ServicerContext[Any, Any]

_PAGE_SIZE = 100
_ADMIN = "ROLE_ADMIN"


@dataclass(frozen=True, kw_only=True)
class TradingServicer(pb_grpc.TradingServiceServicer):
    """Each method acts for the account of the user who calls."""

    submit_order: SubmitOrder
    cancel_order: CancelOrder
    get_order: GetOrder
    list_orders: ListOrders
    list_fills: ListFills
    get_portfolio: GetPortfolio
    strategies: Strategies
    order_changes: Broadcast

    async def SubmitOrder(self, request: pb.SubmitOrderRequest, context: Context) -> pb.SubmitOrderResponse:
        order = await self.submit_order(current_user().user_id, convert.terms_from_pb(request))
        return pb.SubmitOrderResponse(order=convert.order_to_pb(order))

    async def CancelOrder(self, request: pb.CancelOrderRequest, context: Context) -> pb.CancelOrderResponse:
        order = await self.cancel_order(current_user().user_id, UUID(request.order_id))
        return pb.CancelOrderResponse(order=convert.order_to_pb(order))

    async def GetOrder(self, request: pb.GetOrderRequest, context: Context) -> pb.GetOrderResponse:
        order = await self.get_order(current_user().user_id, UUID(request.order_id))
        return pb.GetOrderResponse(order=convert.order_to_pb(order))

    async def ListOrders(self, request: pb.ListOrdersRequest, context: Context) -> pb.ListOrdersResponse:
        page = await self.list_orders(
            current_user().user_id,
            symbol=request.symbol or None,
            open_only=request.open_only,
            limit=request.page_size or _PAGE_SIZE,
            before=_before(request),
        )
        orders = [convert.order_to_pb(order) for order in page.items]
        return pb.ListOrdersResponse(orders=orders, next_page_token=_next_page(page.next_before, request))

    async def ListFills(self, request: pb.ListFillsRequest, context: Context) -> pb.ListFillsResponse:
        page = await self.list_fills(
            current_user().user_id,
            order_id=UUID(request.order_id) if request.order_id else None,
            limit=request.page_size or _PAGE_SIZE,
            before=_before(request),
        )
        fills = [convert.fill_to_pb(fill) for fill in page.items]
        return pb.ListFillsResponse(fills=fills, next_page_token=_next_page(page.next_before, request))

    async def GetPortfolio(self, request: pb.GetPortfolioRequest, context: Context) -> pb.GetPortfolioResponse:
        portfolio = await self.get_portfolio(current_user().user_id)
        return pb.GetPortfolioResponse(portfolio=convert.portfolio_to_pb(portfolio))

    async def StreamOrders(
        self, request: pb.StreamOrdersRequest, context: Context
    ) -> AsyncIterator[pb.StreamOrdersResponse]:
        subscription = self.order_changes.subscribe(
            keys=frozenset({str(account_id_of(current_user().user_id))}),
            resume_token=request.resume_token,
            slow_reader=request.slow_reader,
        )
        async for response in stream_responses(subscription, pb.StreamOrdersResponse, _orders_event):
            yield response

    async def ListStrategies(self, request: pb.ListStrategiesRequest, context: Context) -> pb.ListStrategiesResponse:
        user = current_user()
        states = await self.strategies.list(user.user_id, of_any=_ADMIN in user.roles)
        return pb.ListStrategiesResponse(strategies=[convert.strategy_to_pb(state) for state in states])

    async def StartStrategy(self, request: pb.StartStrategyRequest, context: Context) -> pb.StartStrategyResponse:
        state = await self.strategies.start(current_user().user_id, request.strategy)
        return pb.StartStrategyResponse(strategy=convert.strategy_to_pb(state))

    async def StopStrategy(self, request: pb.StopStrategyRequest, context: Context) -> pb.StopStrategyResponse:
        user = current_user()
        state = await self.strategies.stop(user.user_id, request.strategy, of_any=_ADMIN in user.roles)
        return pb.StopStrategyResponse(strategy=convert.strategy_to_pb(state))


def _orders_event(entries: Sequence[Entry]) -> Mapping[str, Message]:
    return {"orders": order_pb2.OrderBatch(orders=[order_pb2.Order.FromString(entry.event) for entry in entries])}


def _before(request: pb.ListOrdersRequest | pb.ListFillsRequest) -> int | None:
    return decode_number(request.page_token, request)


def _next_page(before: int | None, request: pb.ListOrdersRequest | pb.ListFillsRequest) -> str:
    return "" if before is None else encode_page_token([str(before)], request)
