"""Puts the parts of the service together; what differs between a process and a test is passed in."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.broadcast import Broadcast
from services.runtime.clock import Clock, utc_now
from services.runtime.database import ping
from services.runtime.journal import RedisJournal
from services.trading.adapters.marketdata import LiveMarket, MarketFeed
from services.trading.adapters.paper import PaperVenue
from services.trading.adapters.postgres import SqlUnits
from services.trading.adapters.prediction import SignalFeed
from services.trading.adapters.records import SqlRecords, SqlStrategyRuns
from services.trading.adapters.relay import TOPIC, OutboxRelay
from services.trading.domain.orders import Fees
from services.trading.servicer import TradingServicer
from services.trading.settings import TradingSettings
from services.trading.strategies.signal_follower import SignalFollower
from services.trading.use_cases.cancel_order import CancelOrder
from services.trading.use_cases.fill_resting_orders import FillRestingOrders
from services.trading.use_cases.read_account import GetOrder, GetPortfolio, ListFills, ListOrders
from services.trading.use_cases.run_strategies import ActOnSignal, Strategies
from services.trading.use_cases.submit_order import SubmitOrder

if TYPE_CHECKING:
    from levimesh.marketdata.v1.marketdata_service_pb2_grpc import MarketDataServiceAsyncStub
    from levimesh.prediction.v1.prediction_service_pb2_grpc import PredictionServiceAsyncStub

Work = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Trading:
    """The service, ready to run."""

    servicer: TradingServicer
    work: Mapping[str, Work]
    """What runs in the background for ever, by name."""
    needs: Mapping[str, Work]
    """Checks of what has to hold for orders to be taken back and read, by name."""
    wants: Mapping[str, Work]
    """Checks of what only some methods need, by name."""


def build(
    settings: TradingSettings,
    engine: AsyncEngine,
    journal: RedisJournal,
    marketdata: "MarketDataServiceAsyncStub",
    prediction: "PredictionServiceAsyncStub",
    *,
    now: Clock = utc_now,
    new_id: Callable[[], UUID] = uuid4,
) -> Trading:
    """The service on these connections."""
    relay = OutboxRelay(engine, journal)
    units = SqlUnits(engine, settings.paper_currency, settings.paper_cash, relay.wake)
    records = SqlRecords(engine)
    runs = SqlStrategyRuns(engine)
    market = LiveMarket(
        now,
        silence=timedelta(seconds=settings.market_silence_seconds),
        price_age=timedelta(seconds=settings.price_age_seconds),
    )
    venue = PaperVenue(market, Fees(settings.maker_fee_bps, settings.taker_fee_bps), settings.slippage_bps, new_id)
    submit_order = SubmitOrder(units, market, venue, new_id, now)
    get_portfolio = GetPortfolio(units, records, market, now)
    follower = SignalFollower(settings.strategy_fraction)
    known = {follower.name: follower}
    max_age = timedelta(seconds=settings.signal_max_age_seconds)
    market_feed = MarketFeed(marketdata, market, records, FillRestingOrders(units, venue, now))
    signal_feed = SignalFeed(
        prediction,
        records,
        units,
        ActOnSignal(known, runs, market, get_portfolio, submit_order, max_age),
        now,
        silence=timedelta(seconds=settings.signal_silence_seconds),
    )
    order_changes = Broadcast(journal, TOPIC)
    servicer = TradingServicer(
        submit_order=submit_order,
        cancel_order=CancelOrder(units, now),
        get_order=GetOrder(records),
        list_orders=ListOrders(records),
        list_fills=ListFills(records),
        get_portfolio=get_portfolio,
        strategies=Strategies(known, runs, units, now),
        order_changes=order_changes,
    )
    return Trading(
        servicer,
        work={
            "symbols": market_feed.refresh_symbols,
            "market feed": market_feed.follow,
            "signal feed": partial(signal_feed.follow, market.met),
            "outbox relay": relay.run,
            "order broadcast": order_changes.run,
        },
        needs={"database": partial(ping, engine)},
        wants={"redis": journal.ping, "marketdata": market.ping, "signals": signal_feed.ping},
    )
