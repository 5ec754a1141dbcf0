"""Orders, fills and balances."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.simex.desk import Fees, TradingDesk
from services.simex.errors import ApiError
from services.simex.ledger import Balance, Ledger, Page
from services.simex.market import Market
from services.simex.orders import ZERO, NewOrder, Order, OrderType, Side, Status, TimeInForce
from tests.unit.simex.builders import HOUR_MS, HandClock, a_replay, a_stochastic_market, the_books, write_trades

FEES = Fees(maker=Decimal("0.001"), taker=Decimal("0.002"))
FIRST = {"USDT": Decimal(100_000), "BTC": Decimal(1)}


@contextmanager
def a_desk(market: Market, path: Path | None = None) -> Iterator[TradingDesk]:
    ledger = Ledger(path, FIRST)
    try:
        yield TradingDesk(market, the_books(market), ledger, FEES)
    finally:
        ledger.close()


@pytest.fixture
def market() -> Market:
    return a_stochastic_market(days=0.5)[0]


@pytest.fixture
def desk(market: Market) -> Iterator[TradingDesk]:
    with a_desk(market) as opened:
        yield opened


def an_order(
    side: Side = Side.BUY,
    kind: OrderType = OrderType.MARKET,
    *,
    quantity: str = "0.1",
    price: str | Decimal = "0",
    time_in_force: TimeInForce = TimeInForce.GTC,
    quote: str = "0",
    client_id: str = "one",
) -> NewOrder:
    return NewOrder("BTCUSDT", client_id, side, kind, time_in_force, Decimal(price), Decimal(quantity), Decimal(quote))


def last_price(market: Market) -> Decimal:
    listing = market.listings["BTCUSDT"]
    return listing.instrument.price(int(listing.last_trades(1).prices[0]))


def balances(desk: TradingDesk) -> dict[str, tuple[Decimal, Decimal]]:
    return {balance.asset: (balance.free, balance.locked) for balance in desk.ledger.balances()}


def assert_fills_explain_the_balances(desk: TradingDesk) -> None:
    expected = dict(FIRST)
    for fill in desk.ledger.fills(Page("BTCUSDT", 1, 0, 2**60, 10**6)):
        sign = 1 if fill.side is Side.BUY else -1
        expected["BTC"] += sign * fill.quantity
        expected["USDT"] -= sign * fill.quantity * fill.price
        expected[fill.commission_asset] -= fill.commission
    locked = {"BTC": ZERO, "USDT": ZERO}
    for order in desk.ledger.open_orders():
        if order.buys:
            locked["USDT"] += order.price * order.remaining
        else:
            locked["BTC"] += order.remaining
    for asset, (free, held) in balances(desk).items():
        assert free >= 0
        assert held == locked[asset]
        assert free + held == expected[asset]


def test_a_market_order_takes_the_book_level_by_level(desk: TradingDesk, market: Market) -> None:
    asks = the_books(market)["BTCUSDT"].now().asks
    instrument = market.listings["BTCUSDT"].instrument

    order, fills = desk.place(an_order(quantity="1"))

    assert (order.status, order.executed) == (Status.FILLED, Decimal(1))
    taken = [(instrument.price(ticks), instrument.quantity(steps)) for ticks, steps in asks.items()][: len(fills)]
    assert [fill.price for fill in fills] == [price for price, _ in taken]
    assert [fill.quantity for fill in fills[:-1]] == [quantity for _, quantity in taken[:-1]]
    assert len(fills) > 1
    assert all(fill.commission_asset == "BTC" and not fill.is_maker for fill in fills)
    assert fills[0].commission == (fills[0].quantity * FEES.taker).quantize(Decimal("1e-8"), "ROUND_DOWN")
    assert_fills_explain_the_balances(desk)


def test_a_market_order_can_spend_an_amount_of_the_quote_asset(desk: TradingDesk) -> None:
    order, fills = desk.place(an_order(quantity="0", quote="5000"))

    assert order.status is Status.FILLED
    assert Decimal(4990) < sum(fill.price * fill.quantity for fill in fills) <= Decimal(5000)
    assert_fills_explain_the_balances(desk)


def test_a_limit_order_waits_and_is_filled_by_the_trades_that_reach_it(market: Market, desk: TradingDesk) -> None:
    clock = _clock_of(market)
    price = last_price(market) - Decimal(5)
    order, fills = desk.place(an_order(kind=OrderType.LIMIT, price=price, quantity="0.5"))
    assert (order.status, fills) == (Status.NEW, [])
    assert balances(desk)["USDT"] == (FIRST["USDT"] - price / 2, price / 2)

    clock.advance(HOUR_MS)
    desk.settle()

    [filled] = desk.ledger.orders(Page("BTCUSDT", 1, 0, 2**60, 10))
    done = desk.ledger.fills_of("BTCUSDT", order.id)
    assert filled.status is Status.FILLED
    assert {fill.price for fill in done} == {price}
    assert all(fill.is_maker and fill.time_ms > order.created_ms for fill in done)
    assert sum(fill.quantity for fill in done) == Decimal("0.5")
    assert_fills_explain_the_balances(desk)


def test_trades_that_passed_a_waiting_order_are_not_looked_at_again(market: Market, desk: TradingDesk) -> None:
    order, _ = desk.place(an_order(kind=OrderType.LIMIT, price="100"))

    _clock_of(market).advance(4 * HOUR_MS)
    desk.settle()

    [waiting] = desk.ledger.open_orders()
    last_id = int(market.listings["BTCUSDT"].last_trades(1).ids[0])
    assert last_id - order.matched_id > 10_000
    assert last_id - waiting.matched_id < 5000


def test_a_trade_fills_the_better_price_first_and_no_more_than_its_quantity(tmp_path: Path) -> None:
    start = 1_717_977_600_000
    rows = [(start, 1, 100.0, 1.0, -1), (start + 1000, 2, 90.0, 1.5, -1), (start + 2000, 3, 90.0, 9.0, -1)]
    rows += [(start + HOUR_MS, 4, 99.25, 1.0, 1)]
    write_trades(tmp_path / "x_BTC-USDT_trades.parquet", rows)
    market, clock = a_replay(tmp_path, start + 500)
    with a_desk(market) as desk:
        lower, _ = desk.place(an_order(kind=OrderType.LIMIT, price="95", quantity="1", client_id="lower"))
        higher, _ = desk.place(an_order(kind=OrderType.LIMIT, price="96", quantity="1", client_id="higher"))
        clock.advance(1000)
        desk.settle()

        executed = {order.client_id: order.executed for order in desk.ledger.orders(Page("BTCUSDT", 1, 0, 2**60, 9))}
        assert executed == {"lower": Decimal("0.5"), "higher": Decimal(1)}
        clock.advance(1000)
        desk.settle()
        assert [fill.quantity for fill in desk.ledger.fills_of("BTCUSDT", lower.id)] == [Decimal("0.5")] * 2
        assert [fill.price for fill in desk.ledger.fills_of("BTCUSDT", higher.id)] == [Decimal(96)]


def test_trades_before_an_order_do_not_fill_it(tmp_path: Path) -> None:
    start = 1_717_977_600_000
    rows = [(start + n * 1000, n, price, 9.0, -1) for n, price in enumerate((100.25, 90.0, 100.0, 99.0))]
    write_trades(tmp_path / "x_BTC-USDT_trades.parquet", rows)
    market, clock = a_replay(tmp_path, start)
    with a_desk(market) as desk:
        desk.place(an_order(kind=OrderType.LIMIT, price="50", quantity="1", client_id="far below"))
        clock.advance(2000)
        late, _ = desk.place(an_order(kind=OrderType.LIMIT, price="95", quantity="1", client_id="late"))
        clock.advance(999)
        desk.settle()

        assert desk.ledger.fills_of("BTCUSDT", late.id) == []


def test_a_limit_order_that_crosses_takes_and_the_rest_waits_expires_or_kills_it(
    desk: TradingDesk, market: Market
) -> None:
    asks = list(the_books(market)["BTCUSDT"].now().asks.items())
    instrument = market.listings["BTCUSDT"].instrument
    price = instrument.price(asks[2][0])
    offered = sum((instrument.quantity(steps) for _, steps in asks[:3]), ZERO)
    more = str(offered + Decimal("0.01"))

    def place(time_in_force: TimeInForce, client_id: str) -> Order:
        wanted = an_order(
            kind=OrderType.LIMIT, price=price, quantity=more, time_in_force=time_in_force, client_id=client_id
        )
        return desk.place(wanted)[0]

    killed, expired, waiting = (place(kind, kind.value) for kind in (TimeInForce.FOK, TimeInForce.IOC, TimeInForce.GTC))

    assert (killed.status, killed.executed) == (Status.EXPIRED, ZERO)
    assert (expired.status, expired.executed) == (Status.EXPIRED, offered)
    assert (waiting.status, waiting.executed) == (Status.PARTIALLY_FILLED, offered)
    assert balances(desk)["USDT"][1] == price * Decimal("0.01")
    assert_fills_explain_the_balances(desk)


def test_canceling_frees_what_was_locked_and_only_once(desk: TradingDesk, market: Market) -> None:
    order, _ = desk.place(an_order(Side.SELL, OrderType.LIMIT, price=last_price(market) * 2, quantity="0.4"))
    assert balances(desk)["BTC"] == (Decimal("0.6"), Decimal("0.4"))

    canceled = desk.cancel("BTCUSDT", order.id, None)

    assert canceled.status is Status.CANCELED
    assert balances(desk)["BTC"] == (Decimal(1), ZERO)
    with pytest.raises(ApiError, match="-2011"):
        desk.cancel("BTCUSDT", order.id, None)
    with pytest.raises(ApiError, match="-2011"):
        desk.cancel_all("BTCUSDT")


@pytest.mark.parametrize(
    ("new", "complaint"),
    [
        (an_order(quantity="0.000001"), "Filter failure: LOT_SIZE"),
        (an_order(quantity="0.0000155"), "Filter failure: LOT_SIZE"),
        (an_order(quantity="0.00001"), "Filter failure: NOTIONAL"),
        (an_order(kind=OrderType.LIMIT, price="50000.001"), "Filter failure: PRICE_FILTER"),
        (an_order(kind=OrderType.LIMIT, price="50000", quantity="0.00009"), "Filter failure: NOTIONAL"),
        (an_order(kind=OrderType.LIMIT, price="50000", quantity="50"), "insufficient balance"),
        (an_order(Side.SELL, quantity="1.00001"), "insufficient balance"),
        (an_order(quantity="5"), "insufficient balance"),
        (an_order(kind=OrderType.LIMIT_MAKER, price="90000", quantity="0.1"), "immediately match and take"),
    ],
)
def test_a_refused_order_changes_nothing(desk: TradingDesk, new: NewOrder, complaint: str) -> None:
    before = balances(desk)

    with pytest.raises(ApiError, match=complaint):
        desk.place(new)

    assert balances(desk) == before
    assert desk.ledger.orders(Page("BTCUSDT", 0, 0, 2**60, 10)) == []


def test_a_client_id_is_unique_among_open_orders_only(desk: TradingDesk) -> None:
    first, _ = desk.place(an_order(kind=OrderType.LIMIT, price="20000"))
    with pytest.raises(ApiError, match="Duplicate order sent"):
        desk.place(an_order(kind=OrderType.LIMIT, price="20000"))

    desk.cancel("BTCUSDT", None, "one")
    second, _ = desk.place(an_order(kind=OrderType.LIMIT, price="20000"))

    assert second.id > first.id
    found = desk.ledger.order("BTCUSDT", None, "one")
    assert found is not None
    assert found.id == second.id


def test_a_closed_market_takes_no_orders_but_lets_them_go(tmp_path: Path) -> None:
    start = 1_717_977_600_000
    write_trades(tmp_path / "x_BTC-USDT_trades.parquet", [(start, 1, 100.0, 1.0, 1), (start + 1000, 2, 99.9, 1.0, 1)])
    market, clock = a_replay(tmp_path, start + 10)
    with a_desk(market) as desk:
        order, _ = desk.place(an_order(kind=OrderType.LIMIT, price="50", quantity="1"))
        clock.advance(HOUR_MS)

        with pytest.raises(ApiError, match="Market is closed"):
            desk.place(an_order(client_id="two"))
        assert desk.cancel("BTCUSDT", order.id, None).status is Status.CANCELED


def test_orders_go_on_from_the_disk_as_if_nothing_had_happened(tmp_path: Path) -> None:
    def run(path: Path, *, restart: bool) -> list[tuple[object, ...]]:
        market, clock = a_stochastic_market(days=0.5)
        with a_desk(market, path) as desk:
            for index, price in enumerate((last_price(market) - 20, last_price(market) - 40)):
                desk.place(an_order(kind=OrderType.LIMIT, price=price, quantity="0.7", client_id=str(index)))
            clock.advance(HOUR_MS // 6)
            if not restart:
                desk.settle()
        if restart:
            market, clock = a_stochastic_market(days=0.5)
            clock.advance(HOUR_MS // 6)
        with a_desk(market, path) as desk:
            clock.advance(HOUR_MS)
            desk.settle()
            fills = desk.ledger.fills(Page("BTCUSDT", 1, 0, 2**60, 1000))
            assert_fills_explain_the_balances(desk)
            return [(fill.order_id, fill.price, fill.quantity, fill.time_ms) for fill in fills]

    fills = run(tmp_path / "one", restart=True)

    assert fills
    assert fills == run(tmp_path / "other", restart=False)


def test_a_balance_is_never_written_negative(desk: TradingDesk) -> None:
    def write_a_negative_one() -> None:
        with desk.ledger.transaction():
            desk.ledger.set_balance(Balance("BTC", Decimal(5)))
            desk.ledger.set_balance(Balance("USDT", Decimal(-1)))

    with pytest.raises(ValueError, match="negative"):
        write_a_negative_one()

    assert balances(desk) == {asset: (amount, ZERO) for asset, amount in FIRST.items()}


_orders = st.builds(
    an_order,
    st.sampled_from(Side),
    st.sampled_from(OrderType),
    quantity=st.integers(1, 60_000).map(lambda steps: str(Decimal(steps).scaleb(-5))),
    price=st.integers(5_990_000, 6_010_000).map(lambda ticks: str(Decimal(ticks).scaleb(-2))),
    time_in_force=st.sampled_from(TimeInForce),
)


@given(st.lists(st.tuples(_orders, st.integers(0, 600_000), st.booleans()), max_size=12))
@settings(max_examples=40, deadline=None)
def test_whatever_is_ordered_fills_explain_every_balance(steps: list[tuple[NewOrder, int, bool]]) -> None:
    market, clock = a_stochastic_market(days=0.05)
    with a_desk(market) as desk:
        for index, (new, pause_ms, cancel) in enumerate(steps):
            try:
                desk.place(_numbered(new, index))
                if cancel:
                    desk.cancel_all("BTCUSDT")
            except ApiError:
                pass
            clock.advance(pause_ms)
            desk.settle()
            assert_fills_explain_the_balances(desk)


def _numbered(new: NewOrder, index: int) -> NewOrder:
    price = ZERO if new.type is OrderType.MARKET else new.price
    return NewOrder(new.symbol, str(index), new.side, new.type, new.time_in_force, price, new.quantity)


def _clock_of(market: Market) -> HandClock:
    assert isinstance(market.clock, HandClock)
    return market.clock
