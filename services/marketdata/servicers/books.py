"""The OrderBookService of the contract."""

from typing import Any

import grpc

from levimesh.marketdata.v1 import book_service_pb2 as pb
from levimesh.marketdata.v1 import book_service_pb2_grpc as pb_grpc
from services.marketdata.converters import books as convert
from services.marketdata.use_cases.books import GetBookVwap, GetOrderBook

Context = grpc.aio.ServicerContext[Any, Any]


class OrderBookServicer(pb_grpc.OrderBookServiceServicer):
    """Wire in, wire out."""

    def __init__(self, get_order_book: GetOrderBook, get_book_vwap: GetBookVwap) -> None:
        self._get_order_book = get_order_book
        self._get_book_vwap = get_book_vwap

    async def GetOrderBook(self, request: pb.GetOrderBookRequest, context: Context) -> pb.GetOrderBookResponse:
        return pb.GetOrderBookResponse(book=convert.book_to_pb(self._get_order_book(request.symbol, request.depth)))

    async def GetBookVwap(self, request: pb.GetBookVwapRequest, context: Context) -> pb.GetBookVwapResponse:
        side = convert.side_from_pb(request.side)
        cost = self._get_book_vwap(request.symbol, side, convert.amount_from_pb(request))
        return convert.cost_to_pb(cost)
