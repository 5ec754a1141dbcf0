"""Starting and stopping strategies, and letting them act."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from services.runtime.clock import Clock
from services.runtime.errors import MeshError
from services.trading.domain.accounts import account_id_of
from services.trading.domain.markets import Price, Signal, Symbol
from services.trading.domain.orders import Order, OrderTerms
from services.trading.domain.portfolios import Portfolio
from services.trading.errors import StrategyBusy, StrategyNotFound
from services.trading.ports import Market, StrategyRun, StrategyRuns, Units
from services.trading.strategies.interface import Strategy

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StrategyState:
    """A strategy and whether it runs."""

    strategy: str
    description: str
    running: bool = False
    account_id: UUID | None = None
    """None before it was first started, and where it is another's."""
    changed_at: datetime | None = None


class Strategies:
    """Lists, starts and stops the strategies there are."""

    def __init__(self, known: Mapping[str, Strategy], runs: StrategyRuns, units: Units, now: Clock) -> None:
        self._known = known
        self._runs = runs
        self._units = units
        self._now = now

    async def list(self, user_id: str, *, of_any: bool) -> list[StrategyState]:
        """All strategies, by name; another's account is told only with ``of_any``."""
        runs = await self._runs.all()
        states = [self._state(name, runs.get(name)) for name in sorted(self._known)]
        return [_seen_by(user_id, state, of_any=of_any) for state in states]

    async def start(self, user_id: str, name: str) -> StrategyState:
        """Let it trade for the user's account. Raises StrategyNotFound, or StrategyBusy when it runs for another."""
        self._check_known(name)
        async with self._units() as unit:
            account = await unit.account(user_id)
            await unit.commit()
        run = await self._runs.start(name, user_id, account.account_id, self._now())
        self._check_own(run, user_id)
        return self._state(name, run)

    async def stop(self, user_id: str, name: str, *, of_any: bool) -> StrategyState:
        """Stop it; another account's only with ``of_any``. Raises StrategyNotFound or StrategyBusy."""
        self._check_known(name)
        run = (await self._runs.all()).get(name)
        if run is not None and run.running:
            if not of_any:
                self._check_own(run, user_id)
            await self._runs.stop(name, run.account_id, self._now())
        return _seen_by(user_id, self._state(name, (await self._runs.all()).get(name)), of_any=of_any)

    def _check_known(self, name: str) -> None:
        if name not in self._known:
            raise StrategyNotFound(f"there is no strategy {name}; ListStrategies lists them all", strategy=name)

    def _check_own(self, run: StrategyRun, user_id: str) -> None:
        if run.account_id != account_id_of(user_id):
            raise StrategyBusy(f"{run.strategy} runs for another account", strategy=run.strategy)

    def _state(self, name: str, run: StrategyRun | None) -> StrategyState:
        description = self._known[name].description
        if run is None:
            return StrategyState(name, description)
        return StrategyState(name, description, run.running, run.account_id, run.changed_at)


def _seen_by(user_id: str, state: StrategyState, *, of_any: bool) -> StrategyState:
    return state if of_any or state.account_id == account_id_of(user_id) else replace(state, account_id=None)


class ActOnSignal:
    """Lets every running strategy act on a signal, unless it is too old by the market's clock."""

    def __init__(
        self,
        known: Mapping[str, Strategy],
        runs: StrategyRuns,
        market: Market,
        get_portfolio: Callable[[str], Awaitable[Portfolio]],
        submit_order: Callable[[str, OrderTerms], Awaitable[Order]],
        max_age: timedelta,
    ) -> None:
        self._known = known
        self._runs = runs
        self._market = market
        self._get_portfolio = get_portfolio
        self._submit_order = submit_order
        self._max_age = max_age

    async def __call__(self, signal: Signal) -> None:
        """Act. What cannot be traded is logged; only what a repetition may heal, such as a lost database, is raised."""
        for run in (await self._runs.all()).values():
            if run.running and run.strategy in self._known:
                await self._act(self._known[run.strategy], run, signal)

    async def _act(self, strategy: Strategy, run: StrategyRun, signal: Signal) -> None:
        about = {"strategy": run.strategy, "symbol": signal.symbol, "prediction_id": str(signal.prediction_id)}
        try:
            price = self._market.price(signal.symbol)
            age = price.market_time - signal.candle_close_time
            if age > self._max_age:
                _log.info("signal skipped: too old", extra={**about, "age_seconds": age.total_seconds()})
                return
            portfolio = await self._get_portfolio(run.user_id)
            terms = _decision(strategy, signal, portfolio, self._market.symbol(signal.symbol), price)
            if terms is None:
                _log.info("signal needs no order", extra={**about, "direction": signal.direction.value})
                return
            order = await self._submit_order(run.user_id, terms)
        except MeshError as refusal:
            _log.warning("signal not traded", extra={**about, "reason": refusal.reason, "why": str(refusal)})
        else:
            _log.info("signal traded", extra={**about, "order_id": str(order.order_id), "side": terms.side.value})


def _decision(
    strategy: Strategy, signal: Signal, portfolio: Portfolio, symbol: Symbol, price: Price
) -> OrderTerms | None:
    try:
        return strategy.on_signal(signal, portfolio, symbol, price)
    except Exception:  # noqa: BLE001 - a strategy that throws is logged and must not keep the others from the signal
        _log.exception("strategy failed on a signal", extra={"strategy": strategy.name, "symbol": signal.symbol})
        return None
