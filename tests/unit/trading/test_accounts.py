"""Money, positions and reservations."""

from dataclasses import replace
from decimal import Decimal

import pytest

from services.trading.domain.accounts import Account, Position, account_id_of, assets
from services.trading.domain.orders import Fill, Order, Side
from services.trading.domain.portfolios import Portfolio
from services.trading.errors import InsufficientFunds, InsufficientPosition
from tests.unit.trading.builders import BTC, ETH, NOW, a_fill, an_account, an_order


def filled_at_once(account: Account, side: Side, quantity: str, price: str, fee: str, symbol: str = BTC) -> Account:
    order = an_order(side, quantity, account=account, symbol=symbol)
    fill = a_fill(order, price, quantity, fee=fee)
    return account.after(None, order.filled(fill), [fill])


def test_a_buy_costs_its_notional_and_fee() -> None:
    account = filled_at_once(an_account("1000"), Side.BUY, "2", "100", "0.3")

    assert (account.cash, account.fees_paid) == (Decimal("799.7"), Decimal("0.3"))
    assert account.positions[BTC] == Position(BTC, Decimal(2), cost=Decimal("200.3"))


def test_a_sale_of_a_part_realises_its_part_of_the_cost() -> None:
    account = filled_at_once(an_account("1000"), Side.BUY, "3", "100", "0.3")
    account = filled_at_once(account, Side.SELL, "1", "110", "0.2")

    assert account.cash == Decimal("809.5")
    assert account.positions[BTC] == Position(BTC, Decimal(2), cost=Decimal("200.2"), realized_pnl=Decimal("9.7"))


def test_a_sale_of_all_leaves_no_cost_behind() -> None:
    account = filled_at_once(an_account("1000"), Side.BUY, "3", "100", "0.1")
    for _ in range(3):
        account = filled_at_once(account, Side.SELL, "1", "100", "0")

    position = account.positions[BTC]
    assert (position.quantity, position.cost, position.realized_pnl) == (Decimal(0), Decimal(0), Decimal("-0.1"))
    assert account.cash == Decimal("999.9")


def test_a_buy_of_more_than_is_free_is_refused_with_what_is_missing() -> None:
    account = replace(an_account("1000"), reserved_cash=Decimal(900))

    with pytest.raises(InsufficientFunds) as refused:
        filled_at_once(account, Side.BUY, "1", "100", "0.15")

    assert refused.value.metadata == {"required": "100.15", "available": "100", "currency": "USDT"}


def test_a_buy_may_spend_the_last_digit() -> None:
    assert filled_at_once(an_account("100.15"), Side.BUY, "1", "100", "0.15").cash == 0


def test_a_resting_buy_that_costs_more_than_is_free_is_refused() -> None:
    account = an_account("100")

    with pytest.raises(InsufficientFunds):
        account.after(None, an_order(limit="100", account=account), [])


def test_a_sale_of_more_than_is_free_is_refused_with_what_is_missing() -> None:
    account = an_account(BTC=Position(BTC, Decimal(2), reserved=Decimal("1.5"), cost=Decimal(1)))

    with pytest.raises(InsufficientPosition) as refused:
        filled_at_once(account, Side.SELL, "0.6", "100", "0")

    assert refused.value.metadata == {"required": "0.6", "available": "0.5", "currency": "BTC"}


def test_a_symbol_that_is_paid_in_another_currency_cannot_be_bought() -> None:
    symbol = "ETH-BTC@simex"
    account = replace(an_account(), positions={symbol: Position(symbol)})

    with pytest.raises(InsufficientFunds) as refused:
        account.after(None, an_order(symbol=symbol, limit="0.05"), [])

    assert refused.value.metadata["available"] == "0"


def resting(account: Account, side: Side) -> tuple[Account, Order, Fill]:
    order = an_order(side, "2", "100", account=account)
    return account.after(None, order, []), order, a_fill(order, "100", "0.5", fee="0.05", trade_id="t")


def test_a_resting_buy_holds_its_cost_until_it_fills_or_is_cancelled() -> None:
    account, order, fill = resting(an_account("1000"), Side.BUY)
    assert (account.cash, account.reserved_cash) == (Decimal(1000), Decimal("200.2"))

    partly = order.filled(fill)
    account = account.after(order, partly, [fill])
    assert (account.cash, account.reserved_cash) == (Decimal("949.95"), Decimal("150.15"))

    account = account.after(partly, partly.cancelled(), [])
    assert (account.cash, account.reserved_cash, account.available_cash) == (
        Decimal("949.95"),
        Decimal(0),
        Decimal("949.95"),
    )


def test_a_resting_sell_holds_its_quantity_until_it_fills_or_is_cancelled() -> None:
    account = an_account(BTC=Position(BTC, Decimal(2), cost=Decimal(100)))
    account, order, fill = resting(account, Side.SELL)
    assert (account.positions[BTC].reserved, account.positions[BTC].available) == (Decimal(2), Decimal(0))

    partly = order.filled(fill)
    account = account.after(order, partly, [fill])
    assert (account.positions[BTC].quantity, account.positions[BTC].reserved) == (Decimal("1.5"), Decimal("1.5"))

    account = account.after(partly, partly.cancelled(), [])
    assert account.positions[BTC].reserved == 0


def test_equity_is_cash_and_positions_and_its_growth_is_the_profit_to_the_last_digit() -> None:
    account = filled_at_once(an_account("1000"), Side.BUY, "0.3", "100.01", "0.0450045")
    account = filled_at_once(account, Side.BUY, "0.7", "21.37", "0.0224385", ETH)
    account = filled_at_once(account, Side.SELL, "0.1", "99.5", "0.014925")
    portfolio = Portfolio.of(account, {BTC: Decimal("101.13"), ETH: Decimal("20.99")}, NOW)

    values = [holding.market_value for holding in portfolio.holdings]
    assert portfolio.equity == account.cash + sum(values) == Decimal("999.824632")
    assert portfolio.realized_pnl + portfolio.unrealized_pnl == portfolio.equity - 1000


def test_balances_name_the_currency_first_and_add_up_what_several_symbols_hold() -> None:
    other = "BTC-USDT@elsewhere"
    held = {
        other: Position(other, Decimal(2)),
        BTC: Position(BTC, Decimal(1), reserved=Decimal("0.5")),
        ETH: Position(ETH),
    }
    account = replace(an_account("7"), positions=held, reserved_cash=Decimal(3))
    portfolio = Portfolio.of(account, {BTC: Decimal(1), other: Decimal(1)}, NOW)

    balances = [(balance.currency, balance.total, balance.available) for balance in portfolio.balances]
    assert balances == [("USDT", Decimal(7), Decimal(4)), ("BTC", Decimal(3), Decimal("2.5"))]
    assert [holding.position.symbol for holding in portfolio.holdings] == [other, BTC]


def test_a_user_has_one_account_and_another_user_has_another() -> None:
    assert account_id_of("a") == account_id_of("a") != account_id_of("b")


def test_a_symbol_names_its_assets() -> None:
    assert assets("BTC-USDT@simex") == ("BTC", "USDT")
