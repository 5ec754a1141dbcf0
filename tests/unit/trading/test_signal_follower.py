"""What the first strategy makes of a signal."""

from decimal import Decimal

import pytest

from services.trading.domain.accounts import Account, Position
from services.trading.domain.markets import Direction, Price
from services.trading.domain.orders import OrderTerms, OrderType, Side
from services.trading.domain.portfolios import Portfolio
from services.trading.strategies.signal_follower import SignalFollower
from tests.unit.trading.builders import BTC, ETH, NOW, SYMBOLS, a_signal, an_account

FOLLOWER = SignalFollower(Decimal("0.1"))
HOLDING = Position(BTC, Decimal("0.50000"), reserved=Decimal("0.2"), cost=Decimal(30))


def decide(direction: Direction, account: Account, price: str = "70", symbol: str = BTC) -> OrderTerms | None:
    portfolio = Portfolio.of(account, {BTC: Decimal(70), ETH: Decimal(3)}, NOW)
    return FOLLOWER.on_signal(
        a_signal(direction, symbol=symbol), portfolio, SYMBOLS[symbol], Price(Decimal(price), NOW, NOW)
    )


def test_up_buys_the_fraction_of_the_equity_in_whole_steps() -> None:
    signal = a_signal(Direction.UP)
    portfolio = Portfolio.of(an_account("1000"), {}, NOW)

    terms = FOLLOWER.on_signal(signal, portfolio, SYMBOLS[BTC], Price(Decimal(70), NOW, NOW))

    assert terms == OrderTerms(
        client_order_id=f"signal-{signal.prediction_id}",
        symbol=BTC,
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=Decimal("1.42857"),
        prediction_id=signal.prediction_id,
        strategy="signal-follower",
    )


def test_up_counts_everything_that_is_held_as_equity() -> None:
    terms = decide(Direction.UP, an_account("1000", BTC=HOLDING), price="3", symbol=ETH)

    assert terms is not None
    assert terms.quantity == Decimal("34.5")


def test_up_does_nothing_while_it_holds_the_symbol() -> None:
    assert decide(Direction.UP, an_account(BTC=HOLDING)) is None


def test_down_sells_all_that_is_free_of_the_symbol() -> None:
    terms = decide(Direction.DOWN, an_account(BTC=HOLDING))

    assert terms is not None
    assert (terms.side, terms.type, terms.quantity) == (Side.SELL, OrderType.MARKET, Decimal("0.3"))


@pytest.mark.parametrize(
    ("direction", "account"),
    [
        (Direction.DOWN, an_account()),
        (Direction.DOWN, Account.opened("someone", "USDT", Decimal(1))),
        (Direction.NEUTRAL, an_account(BTC=HOLDING)),
        (Direction.NEUTRAL, an_account()),
        (Direction.UP, an_account("0.001")),
    ],
)
def test_otherwise_it_does_nothing(direction: Direction, account: Account) -> None:
    assert decide(direction, account) is None
