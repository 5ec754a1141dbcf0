"""Trades as they arrive, put into the order in which they happened."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from services.marketdata.domain.market import Trade

_REMEMBERED = 20_000
"""How many ids without order are remembered to know duplicates by."""
_ALONE = 10
"""After how many trades in a row whose predecessors all seem to be missing the numbers are no consecutive ones."""
_BREAK_AND_TRADE = 2


@dataclass(frozen=True, slots=True)
class Break:
    """Between the trades before and after it, some may have been missed."""


Step = Trade | Break


@dataclass(frozen=True, slots=True)
class Moment:
    """The source's clock has passed ``time``, and what had arrived until then came before this."""

    time: datetime


Event = Trade | Break | Moment
"""What happens to the line of a symbol's trades, in order."""


class TradeSequence:
    """The trades of one symbol in order, each once, with a Break where one may be missing.

    Where ids are consecutive numbers they are the order, and prove that nothing is missing: a trade that comes before
    its predecessor waits for it, until the source's clock has left it behind. Other ids only tell duplicates; then
    trades pass in the order of arrival, and only a lost connection is a Break. So it is with numbers that turn out to
    have holes everywhere, because the source counts the trades of all its symbols together.
    """

    def __init__(self, newest: Trade | None = None) -> None:
        """``newest`` is the trade after which the sequence goes on; None where it begins."""
        number = None if newest is None else newest.number
        self._newest = None if newest is None or number is None else (number, newest.trade_time)
        """Number and time of the newest numbered trade that was let through."""
        self._consecutive = True
        self._alone = 0
        """How many trades in a row were let through with a hole before and after each."""
        self._waiting: dict[int, Trade] = {}
        self._known: set[str] = set()
        self._known_in_order: deque[str] = deque()

    @property
    def waits(self) -> bool:
        """Whether trades wait for one that comes before them."""
        return bool(self._waiting)

    def is_late(self, trade: Trade) -> bool:
        """Whether ``trade`` comes before trades that were let through, so that it is not let through any more."""
        number = trade.number
        if number is None or self._newest is None or not self._consecutive:
            return False
        return number <= self._newest[0] and trade.trade_time <= self._newest[1]

    def add(self, arrived: Iterable[Step]) -> list[Step]:
        """What can be let through now that these trades have arrived, or a Break where some surely did not."""
        steps: list[Step] = []
        for trade in arrived:
            if isinstance(trade, Break):
                steps += self.interrupt()
                continue
            number = trade.number if self._consecutive else None
            steps += self._add_without_number(trade) if number is None else self._add_numbered(number, trade)
        return steps

    def expire(self, watermark: datetime) -> list[Step]:
        """What is let through after a Break, because what it waited for did not come by ``watermark``."""
        steps: list[Step] = []
        while self._waiting:
            number = min(self._waiting)
            if self._waiting[number].trade_time >= watermark:
                break
            run = self._restart_at(number, self._waiting.pop(number))
            self._alone = self._alone + 1 if len(run) == _BREAK_AND_TRADE else 0
            steps += run
        if self._alone >= _ALONE and self._consecutive:
            self._consecutive = False
            steps += [self._waiting[number] for number in sorted(self._waiting)]
            self._waiting.clear()
        return steps

    def interrupt(self) -> list[Step]:
        """The connection was lost: a Break, unless numbers will show whether trades are missing."""
        return [Break()] if self._newest is None or not self._consecutive else []

    def _add_numbered(self, number: int, trade: Trade) -> list[Step]:
        if self._newest is None:
            return self._restart_at(number, trade)
        newest, newest_time = self._newest
        if number > newest:
            self._waiting.setdefault(number, trade)
            return self._run()
        if trade.trade_time > newest_time:
            # A lower number at a later time: the source has begun to count anew.
            self._waiting.clear()
            return self._restart_at(number, trade)
        return []

    def _restart_at(self, number: int, trade: Trade) -> list[Step]:
        self._newest = number, trade.trade_time
        return [Break(), trade, *self._run()]

    def _run(self) -> list[Step]:
        """The waiting trades that follow the newest one without a hole."""
        steps: list[Step] = []
        while self._newest is not None and (trade := self._waiting.pop(self._newest[0] + 1, None)) is not None:
            self._newest = self._newest[0] + 1, trade.trade_time
            steps.append(trade)
        return steps

    def _add_without_number(self, trade: Trade) -> list[Step]:
        if trade.trade_id in self._known:
            return []
        self._known.add(trade.trade_id)
        self._known_in_order.append(trade.trade_id)
        if len(self._known_in_order) > _REMEMBERED:
            self._known.discard(self._known_in_order.popleft())
        return [trade]
