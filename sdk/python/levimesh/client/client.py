"""The client: typed stubs and streams of every service through the gateway."""

import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc

from levimesh.auth.v1 import (
    api_key_service_pb2,
    api_key_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    auth_service_pb2,
    auth_service_pb2_grpc,
    oauth_service_pb2,
    oauth_service_pb2_grpc,
    policy_service_pb2,
    policy_service_pb2_grpc,
    user_service_pb2,
    user_service_pb2_grpc,
)
from levimesh.client.channels import RenewedChannel
from levimesh.client.deadlines import Deadlines
from levimesh.client.errors import ProfileError, refuses_token
from levimesh.client.identity import BidirectionalIdentity, StreamIdentity, UnaryIdentity, public_methods
from levimesh.client.patience import Patience
from levimesh.client.profile import Profile, load
from levimesh.client.renewal import KeyRenewal, SessionRenewal
from levimesh.client.service_config import repeatable_methods, service_config
from levimesh.client.streams import resume
from levimesh.client.tokens import AccessToken, TokenSource
from levimesh.common.v1 import streaming_pb2
from levimesh.marketdata.v1 import (
    book_service_pb2,
    book_service_pb2_grpc,
    candle_pb2,
    ingest_service_pb2,
    ingest_service_pb2_grpc,
    marketdata_service_pb2,
    marketdata_service_pb2_grpc,
    quality_service_pb2,
    quality_service_pb2_grpc,
    stream_pb2,
    symbol_service_pb2,
    symbol_service_pb2_grpc,
    trade_pb2,
)
from levimesh.prediction.v1 import prediction_pb2, prediction_service_pb2, prediction_service_pb2_grpc
from levimesh.trading.v1 import order_pb2, trading_service_pb2, trading_service_pb2_grpc

_log = logging.getLogger(__name__)

SERVICES = (
    auth_service_pb2.DESCRIPTOR.services_by_name["AuthService"],
    user_service_pb2.DESCRIPTOR.services_by_name["UserService"],
    api_key_service_pb2.DESCRIPTOR.services_by_name["ApiKeyService"],
    audit_service_pb2.DESCRIPTOR.services_by_name["AuditService"],
    oauth_service_pb2.DESCRIPTOR.services_by_name["OAuthService"],
    policy_service_pb2.DESCRIPTOR.services_by_name["PolicyService"],
    marketdata_service_pb2.DESCRIPTOR.services_by_name["MarketDataService"],
    symbol_service_pb2.DESCRIPTOR.services_by_name["SymbolService"],
    book_service_pb2.DESCRIPTOR.services_by_name["OrderBookService"],
    quality_service_pb2.DESCRIPTOR.services_by_name["DataQualityService"],
    ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"],
    prediction_service_pb2.DESCRIPTOR.services_by_name["PredictionService"],
    trading_service_pb2.DESCRIPTOR.services_by_name["TradingService"],
)

Item = TypeVar("Item")
OnGap = Callable[[streaming_pb2.Gap], None]


def log_gap(gap: streaming_pb2.Gap) -> None:
    """Log that a stream has lost messages: what a stream does that is given nothing better."""
    cause = streaming_pb2.GapCause.Name(gap.cause).removeprefix("GAP_CAUSE_").lower()
    _log.warning("a stream has lost messages (%s); the current state has to be fetched", cause)


class Client:
    """A connection to a mesh. Made by ``Client.connect``.

    ``auth``, ``users``, ``api_keys``, ``oauth``, ``audit``, ``policy``, ``marketdata``, ``symbols``, ``books``,
    ``quality``, ``ingest``, ``prediction`` and ``trading`` are the generated async stubs: every call carries an access
    token, gets the contract's deadline, and is retried where the contract says that this does no harm. The methods
    below are the streams, which go on after an interruption by themselves, and call ``on_gap`` when the mesh could not
    replay all that was missed. Whoever leaves one early closes it: ``async with aclosing(mesh.trades()) as trades``.
    """

    auth: "auth_service_pb2_grpc.AuthServiceAsyncStub"
    users: "user_service_pb2_grpc.UserServiceAsyncStub"
    api_keys: "api_key_service_pb2_grpc.ApiKeyServiceAsyncStub"
    oauth: "oauth_service_pb2_grpc.OAuthServiceAsyncStub"
    audit: "audit_service_pb2_grpc.AuditServiceAsyncStub"
    policy: "policy_service_pb2_grpc.PolicyServiceAsyncStub"
    marketdata: "marketdata_service_pb2_grpc.MarketDataServiceAsyncStub"
    symbols: "symbol_service_pb2_grpc.SymbolServiceAsyncStub"
    books: "book_service_pb2_grpc.OrderBookServiceAsyncStub"
    quality: "quality_service_pb2_grpc.DataQualityServiceAsyncStub"
    ingest: "ingest_service_pb2_grpc.IngestServiceAsyncStub"
    prediction: "prediction_service_pb2_grpc.PredictionServiceAsyncStub"
    trading: "trading_service_pb2_grpc.TradingServiceAsyncStub"

    def __init__(self, channel: grpc.aio.Channel, tokens: TokenSource) -> None:
        self._tokens = tokens
        self.auth = auth_service_pb2_grpc.AuthServiceStub(channel)
        self.users = user_service_pb2_grpc.UserServiceStub(channel)
        self.api_keys = api_key_service_pb2_grpc.ApiKeyServiceStub(channel)
        self.oauth = oauth_service_pb2_grpc.OAuthServiceStub(channel)
        self.audit = audit_service_pb2_grpc.AuditServiceStub(channel)
        self.policy = policy_service_pb2_grpc.PolicyServiceStub(channel)
        self.marketdata = marketdata_service_pb2_grpc.MarketDataServiceStub(channel)
        self.symbols = symbol_service_pb2_grpc.SymbolServiceStub(channel)
        self.books = book_service_pb2_grpc.OrderBookServiceStub(channel)
        self.quality = quality_service_pb2_grpc.DataQualityServiceStub(channel)
        self.ingest = ingest_service_pb2_grpc.IngestServiceStub(channel)
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        self.trading = trading_service_pb2_grpc.TradingServiceStub(channel)

    @classmethod
    @asynccontextmanager
    async def connect(cls, profile: Profile | None = None) -> AsyncIterator["Client"]:
        """Connect to the gateway of ``profile``, or of the one that ``levimesh.client.profile.load`` finds.

        Nothing is sent before the first call. Raises ProfileError when no mesh is known, or when it is not known any
        more who to be there: a call raises it too, when the session has ended and there is no password.
        """
        profile = profile or load()

        async def renew(refused: AccessToken | None) -> AccessToken:
            return await renewal(refused)

        tokens = TokenSource(renew)
        async with _open_channel(profile, tokens) as channel:
            client = cls(channel, tokens)
            by_key = profile.has_api_key
            renewal = KeyRenewal(client.oauth, profile) if by_key else SessionRenewal(client.auth, profile)
            try:
                yield client
            finally:
                await tokens.settle()

    def trades(self, symbols: Sequence[str] = (), *, on_gap: OnGap = log_gap) -> AsyncGenerator[trade_pb2.Trade, None]:
        """Trades of ``symbols`` (none: all) from now on. A reader that is slow gets the newest and misses others."""

        def open_stream(token: str) -> Any:
            return self.marketdata.StreamTrades(
                marketdata_service_pb2.StreamTradesRequest(
                    symbols=symbols, resume_token=token, slow_reader=streaming_pb2.SLOW_READER_CONFLATE
                )
            )

        return self._follow(open_stream, lambda message: message.trades.trades, on_gap)

    def candles(
        self, interval: "candle_pb2.Interval.ValueType", symbols: Sequence[str] = (), *, on_gap: OnGap = log_gap
    ) -> AsyncGenerator[candle_pb2.Candle, None]:
        """Candles of ``symbols`` (none: all), each when it is complete, from now on."""

        def open_stream(token: str) -> Any:
            return self.marketdata.StreamCandles(
                marketdata_service_pb2.StreamCandlesRequest(symbols=symbols, interval=interval, resume_token=token)
            )

        return self._follow(open_stream, lambda message: message.candles.candles, on_gap)

    async def market_data(
        self, instruments: Sequence[stream_pb2.Instrument], *, on_gap: OnGap = log_gap
    ) -> AsyncGenerator[marketdata_service_pb2.StreamMarketDataResponse, None]:
        """Batches of trades, candles, books, tickers or indicators of ``instruments`` from now on.

        The first message, and the first after an interruption, tells what became of each instrument. A reader that is
        slow gets the newest and misses others.
        """

        def open_stream(token: str) -> Any:
            return self.marketdata.StreamMarketData(
                marketdata_service_pb2.StreamMarketDataRequest(
                    instruments=instruments, resume_token=token, slow_reader=streaming_pb2.SLOW_READER_CONFLATE
                )
            )

        async with aclosing(resume(open_stream, heal=self._forget_refused_token)) as messages:
            async for message in messages:
                if message.HasField("gap"):
                    on_gap(message.gap.gap)
                else:
                    yield message

    def signals(
        self, symbols: Sequence[str] = (), *, on_gap: OnGap = log_gap
    ) -> AsyncGenerator[prediction_pb2.Signal, None]:
        """Signals for ``symbols`` (none: all) from now on."""

        def open_stream(token: str) -> Any:
            return self.prediction.StreamSignals(
                prediction_service_pb2.StreamSignalsRequest(symbols=symbols, resume_token=token)
            )

        return self._follow(open_stream, lambda message: message.signals.signals, on_gap)

    def orders(self, *, on_gap: OnGap = log_gap) -> AsyncGenerator[order_pb2.Order, None]:
        """Every change of an order of the caller's account from now on."""

        def open_stream(token: str) -> Any:
            return self.trading.StreamOrders(trading_service_pb2.StreamOrdersRequest(resume_token=token))

        return self._follow(open_stream, lambda message: message.orders.orders, on_gap)

    async def _follow(
        self, open_stream: Callable[[str], Any], items: Callable[[Any], Sequence[Item]], on_gap: OnGap
    ) -> AsyncGenerator[Item, None]:
        async with aclosing(resume(open_stream, heal=self._forget_refused_token)) as messages:
            async for message in messages:
                if message.HasField("gap"):
                    on_gap(message.gap)
                for item in items(message):
                    yield item

    def _forget_refused_token(self, error: grpc.aio.AioRpcError) -> bool:
        if refused := refuses_token(error):
            self._tokens.reject()
        return refused


def _open_channel(profile: Profile, tokens: TokenSource) -> grpc.aio.Channel:
    options = [
        ("grpc.service_config", service_config(*SERVICES)),
        ("grpc.enable_retries", 1),
        ("grpc.primary_user_agent", "levimesh-python"),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ]
    interceptors: list[grpc.aio.ClientInterceptor] = [
        UnaryIdentity(tokens, Deadlines(*SERVICES), public_methods(*SERVICES)),
        StreamIdentity(tokens),
        BidirectionalIdentity(tokens),
        Patience(repeatable_methods(*SERVICES)),
    ]
    if not profile.ca:
        return grpc.aio.secure_channel(
            profile.gateway, grpc.ssl_channel_credentials(), options, interceptors=interceptors
        )
    ca = Path(profile.ca)

    def connect() -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(_authorities(ca))
        return grpc.aio.secure_channel(profile.gateway, credentials, options, interceptors=interceptors)

    try:
        return RenewedChannel(connect, lambda: _version(ca), (OSError, ValueError))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ProfileError(f"the authority's certificate {profile.ca} cannot be read: {why}") from error


def _authorities(ca: Path) -> bytes:
    """What is in the file ``ca``. Raises OSError, and ValueError when that is no certificate, or only a part of one."""
    content = ca.read_bytes()
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError) as error:
        raise ValueError("it holds no certificate in PEM") from error
    return content


def _version(ca: Path) -> tuple[int, int]:
    status = ca.stat()
    return status.st_mtime_ns, status.st_ino
