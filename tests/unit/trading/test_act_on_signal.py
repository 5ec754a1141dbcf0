"""Who acts on a signal, and what keeps nobody from the next one."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest

from services.trading.domain.accounts import Account, account_id_of
from services.trading.domain.markets import Price, Signal, Symbol
from services.trading.domain.orders import Order, OrderTerms
from services.trading.domain.portfolios import Portfolio
from services.trading.errors import InsufficientFunds
from services.trading.ports import StrategyRun
from services.trading.use_cases.run_strategies import ActOnSignal
from tests.unit.trading.builders import FEES, NOW, FixedMarket, a_signal, an_account, some_terms

Decide = Callable[[], OrderTerms | None]


@dataclass
class Fixed:
    """A strategy that does the same with every signal."""

    name: str
    decide: Decide
    description: str = ""

    def on_signal(self, signal: Signal, portfolio: Portfolio, symbol: Symbol, price: Price) -> OrderTerms | None:
        assert symbol.symbol == signal.symbol
        return self.decide()


@dataclass
class Surroundings:
    """Everything around ``ActOnSignal``: strategies that run for users of the same name, and what they submit."""

    submitted: list[tuple[str, OrderTerms]] = field(default_factory=list)
    runs: dict[str, StrategyRun] = field(default_factory=dict)
    refusal: Exception | None = None

    async def all(self) -> dict[str, StrategyRun]:
        return self.runs

    async def start(self, strategy: str, user_id: str, account_id: UUID, at: datetime) -> StrategyRun:
        self.runs[strategy] = StrategyRun(strategy, user_id, account_id, True, at)
        return self.runs[strategy]

    async def stop(self, strategy: str, account_id: UUID, at: datetime) -> None:
        raise NotImplementedError

    async def portfolio(self, user_id: str) -> Portfolio:
        return Portfolio.of(an_account(), {}, NOW)

    async def submit(self, user_id: str, terms: OrderTerms) -> Order:
        if self.refusal is not None:
            raise self.refusal
        self.submitted.append((user_id, terms))
        account_id = Account.opened(user_id, "USDT", an_account().cash).account_id
        return Order.submitted(terms, order_id=uuid4(), account_id=account_id, fees=FEES, at=NOW)

    async def act(self, *strategies: Fixed, running: bool = True) -> None:
        known = {strategy.name: strategy for strategy in strategies}
        for name in known if running else ():
            await self.start(name, f"user of {name}", account_id_of(name), NOW)
        market, age = FixedMarket(BTC="100"), timedelta(minutes=10)
        await ActOnSignal(known, self, market, self.portfolio, self.submit, age)(a_signal())


async def test_every_running_strategy_orders_for_the_user_that_started_it() -> None:
    one, two = some_terms(), some_terms()
    around = Surroundings()

    await around.act(Fixed("one", lambda: one), Fixed("two", lambda: two))

    assert around.submitted == [("user of one", one), ("user of two", two)]


async def test_a_strategy_that_throws_does_not_keep_the_others_from_the_signal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    terms = some_terms()
    around = Surroundings()

    def throw() -> OrderTerms | None:
        raise ZeroDivisionError

    await around.act(Fixed("broken", throw), Fixed("whole", lambda: terms))

    assert around.submitted == [("user of whole", terms)]
    assert "strategy failed on a signal" in caplog.messages


async def test_a_refusal_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    around = Surroundings(refusal=InsufficientFunds("the order needs more"))

    with caplog.at_level(logging.WARNING):
        await around.act(Fixed("one", some_terms))

    assert [record.__dict__["reason"] for record in caplog.records] == ["INSUFFICIENT_FUNDS"]


async def test_what_a_repetition_may_heal_is_raised() -> None:
    around = Surroundings(refusal=ConnectionError("the database is away"))

    with pytest.raises(ConnectionError):
        await around.act(Fixed("one", some_terms))


async def test_a_strategy_that_decides_for_nothing_submits_nothing() -> None:
    around = Surroundings()

    await around.act(Fixed("one", lambda: None))

    assert around.submitted == []


async def test_a_run_of_a_strategy_that_is_not_known_any_more_is_passed_over() -> None:
    around = Surroundings()
    await around.start("gone", "someone", account_id_of("someone"), NOW)

    await around.act()

    assert around.submitted == []
