"""Binance's signed REST endpoints."""

import secrets
from collections.abc import Awaitable, Callable
from decimal import Decimal

from aiohttp import web

from services.simex import errors
from services.simex.desk import Fees, TradingDesk
from services.simex.instrument import WIRE_DECIMALS
from services.simex.ledger import Page
from services.simex.market import Market
from services.simex.order_request import new_order
from services.simex.orders import ZERO, Fill, Order, Side, check_filters
from services.simex.rest import PublicApi, Query, answer, limit_of, whole
from services.simex.signing import Credentials
from services.simex.wire import Json

_EVER = 2**62

_Answer = Callable[[Query], Json | list[Json]]


class AccountApi:
    """Orders, fills and balances of whoever signs."""

    def __init__(
        self, market: Market, public: PublicApi, desk: TradingDesk, credentials: Credentials, fees: Fees
    ) -> None:
        self._market = market
        self._public = public
        self._desk = desk
        self._credentials = credentials
        self._fees = fees

    def routes(self) -> list[web.RouteDef]:
        """All signed endpoints."""
        answers: list[tuple[str, str, _Answer]] = [
            ("POST", "order", self.place),
            ("POST", "order/test", self.test),
            ("GET", "order", self.order),
            ("DELETE", "order", self.cancel),
            ("GET", "openOrders", self.open_orders),
            ("DELETE", "openOrders", self.cancel_all),
            ("GET", "allOrders", self.all_orders),
            ("GET", "myTrades", self.fills),
            ("GET", "account", self.account),
        ]
        return [web.route(method, f"/api/v3/{path}", self._signed(make)) for method, path, make in answers]

    def _signed(self, make: _Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return answer(make(await self._credentials.check(request)))

        return handle

    def place(self, query: Query) -> Json:
        """Place an order."""
        order, fills = self._desk.place(new_order(query, self._public.listing(query).instrument))
        placed = {
            "symbol": order.symbol,
            "orderId": order.id,
            "orderListId": -1,
            "clientOrderId": order.client_id,
            "transactTime": order.created_ms,
        }
        kind = query.get("newOrderRespType", "FULL")
        if kind == "ACK":
            return placed
        placed |= {**_order_json(order), "workingTime": order.created_ms}
        return placed if kind == "RESULT" else {**placed, "fills": [_own_fill_json(fill) for fill in fills]}

    def test(self, query: Query) -> Json:
        """Check an order without placing it."""
        new = new_order(query, self._public.listing(query).instrument)
        listing = self._market.listings[new.symbol]
        last = listing.last_trades(1)
        last_price = listing.instrument.price(int(last.prices[0])) if len(last) else ZERO
        check_filters(new, listing.instrument, last_price)
        return {}

    def order(self, query: Query) -> Json:
        """One order."""
        symbol, order_id, client_id = self._named(query)
        self._desk.settle()
        order = self._desk.ledger.order(symbol, order_id, client_id)
        if order is None:
            raise errors.no_such_order()
        return _queried(order)

    def cancel(self, query: Query) -> Json:
        """Cancel one order."""
        return _canceled(self._desk.cancel(*self._named(query)), query.get("newClientOrderId"))

    def cancel_all(self, query: Query) -> list[Json]:
        """Cancel all open orders of a symbol."""
        orders = self._desk.cancel_all(self._public.listing(query).instrument.symbol)
        return [_canceled(order, None) for order in orders]

    def open_orders(self, query: Query) -> list[Json]:
        """The open orders of one symbol or of all."""
        symbol = self._public.listing(query).instrument.symbol if "symbol" in query else None
        self._desk.settle()
        return [_queried(order) for order in self._desk.ledger.open_orders(symbol)]

    def all_orders(self, query: Query) -> list[Json]:
        """Orders of a symbol, whatever became of them."""
        symbol = self._public.listing(query).instrument.symbol
        self._desk.settle()
        return [_queried(order) for order in self._desk.ledger.orders(_page(query, symbol, "orderId"))]

    def fills(self, query: Query) -> list[Json]:
        """Fills of a symbol or of one order."""
        symbol, order_id = self._public.listing(query).instrument.symbol, whole(query, "orderId")
        self._desk.settle()
        if order_id is not None:
            return [_fill_json(fill) for fill in self._desk.ledger.fills_of(symbol, order_id)]
        return [_fill_json(fill) for fill in self._desk.ledger.fills(_page(query, symbol, "fromId"))]

    def account(self, query: Query) -> Json:
        """Balances and commissions."""
        self._desk.settle()
        owned = {balance.asset: balance for balance in self._desk.ledger.balances()}
        traded = {
            asset
            for listing in self._market.listings.values()
            for asset in (listing.instrument.base, listing.instrument.quote)
        }
        balances = [self._desk.ledger.balance(asset) for asset in sorted(owned.keys() | traded)]
        if query.get("omitZeroBalances") == "true":
            balances = [balance for balance in balances if balance.free or balance.locked]
        rates = {"maker": self._fees.maker, "taker": self._fees.taker, "buyer": ZERO, "seller": ZERO}
        return {
            "makerCommission": int(self._fees.maker * 10_000),
            "takerCommission": int(self._fees.taker * 10_000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {party: _text(rate) for party, rate in rates.items()},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self._market.clock.now_ms(),
            "accountType": "SPOT",
            "balances": [
                {"asset": balance.asset, "free": _text(balance.free), "locked": _text(balance.locked)}
                for balance in balances
            ],
            "permissions": ["SPOT"],
            "uid": 1,
        }

    def _named(self, query: Query) -> tuple[str, int | None, str | None]:
        """The symbol and the order that a request names, by id or by client id."""
        symbol = self._public.listing(query).instrument.symbol
        order_id, client_id = whole(query, "orderId"), query.get("origClientOrderId")
        if order_id is None and not client_id:
            raise errors.no_order_named()
        return symbol, order_id, client_id


def _page(query: Query, symbol: str, first: str) -> Page:
    start_ms, end_ms = whole(query, "startTime") or 0, whole(query, "endTime", _EVER) or 0
    return Page(symbol, whole(query, first) or 0, start_ms, end_ms, limit_of(query, 500))


def _text(amount: Decimal) -> str:
    """An amount with at least eight decimal places."""
    places = max(WIRE_DECIMALS, -int(amount.normalize().as_tuple().exponent))
    return f"{amount:.{places}f}"


def _order_json(order: Order) -> Json:
    return {
        "price": _text(order.price),
        "origQty": _text(order.quantity),
        "executedQty": _text(order.executed),
        "origQuoteOrderQty": _text(order.quote_quantity),
        "cummulativeQuoteQty": _text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "selfTradePreventionMode": "NONE",
    }


def _queried(order: Order) -> Json:
    return {
        "symbol": order.symbol,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": order.client_id,
        **_order_json(order),
        "stopPrice": _text(ZERO),
        "icebergQty": _text(ZERO),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": True,
        "workingTime": order.created_ms,
    }


def _canceled(order: Order, client_id: str | None) -> Json:
    return {
        "symbol": order.symbol,
        "origClientOrderId": order.client_id,
        "orderId": order.id,
        "orderListId": -1,
        "clientOrderId": client_id or secrets.token_hex(11),
        "transactTime": order.updated_ms,
        **_order_json(order),
    }


def _own_fill_json(fill: Fill) -> Json:
    return {
        "price": _text(fill.price),
        "qty": _text(fill.quantity),
        "commission": _text(fill.commission),
        "commissionAsset": fill.commission_asset,
        "tradeId": fill.id,
    }


def _fill_json(fill: Fill) -> Json:
    return {
        "symbol": fill.symbol,
        "id": fill.id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": _text(fill.price),
        "qty": _text(fill.quantity),
        "quoteQty": _text(fill.price * fill.quantity),
        "commission": _text(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": fill.time_ms,
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }
