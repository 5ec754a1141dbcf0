"""The HTTP server: REST and websocket on one port."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from services.simex.account import AccountApi
from services.simex.book import BookMaker
from services.simex.clock import Clock, FastClock
from services.simex.desk import Fees, TradingDesk
from services.simex.errors import ApiError, unknown
from services.simex.exchange import open_market, open_state
from services.simex.feed import Feed
from services.simex.ledger import Ledger
from services.simex.rest import PublicApi, answer
from services.simex.settings import SimexSettings
from services.simex.signing import Credentials
from services.simex.websocket import StreamApi

_SHUTDOWN_SECONDS = 2.0

_log = logging.getLogger(__name__)


@asynccontextmanager
async def open_simex(settings: SimexSettings, clock: Clock | None = None) -> AsyncIterator[str]:
    """A running exchange; gives its base URL, for example ``http://127.0.0.1:15080``.

    Raises ReplayError when the market's files cannot be replayed and OSError when the port is taken.
    """
    state = open_state(settings)
    market = open_market(settings, state, clock)
    books = {
        symbol: BookMaker(listing, settings.seed, market.clock.speed) for symbol, listing in market.listings.items()
    }
    feed = Feed(market, books, settings.tick_seconds)
    streams = StreamApi(feed)
    app = web.Application(middlewares=[_refusals])
    fees = Fees(settings.maker_fee, settings.taker_fee)
    ledger = Ledger(state.file("account.sqlite"), settings.balances)
    desk = TradingDesk(market, books, ledger, fees)
    credentials = Credentials(settings.api_key, settings.api_secret, market.clock)
    public = PublicApi(market, books)
    account = AccountApi(market, public, desk, credentials, fees)
    app.add_routes([*public.routes(), *account.routes(), *streams.routes()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    tasks = []
    try:
        await web.TCPSite(runner, settings.host, settings.port).start()
        tasks = [asyncio.create_task(feed.run())]
        if isinstance(market.clock, FastClock):
            tasks.append(asyncio.create_task(state.keep_clock(market.clock)))
        yield f"http://{settings.host}:{runner.addresses[0][1]}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await streams.close()
        await runner.cleanup()
        ledger.close()


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every refusal and failure in Binance's JSON."""
    try:
        return await handler(request)
    except ApiError as error:
        return _refusal(error)
    except web.HTTPException as error:
        message = f"{error.status} {error.reason}: {request.method} {request.path}"
        return _refusal(ApiError(-1000, message, error.status))
    except Exception:  # noqa: BLE001 - the client gets a refusal in Binance's form, the log has the cause
        _log.exception("%s %s failed", request.method, request.path)
        return _refusal(unknown())


def _refusal(error: ApiError) -> web.Response:
    return answer({"code": error.code, "msg": error.message}, status=error.status)
