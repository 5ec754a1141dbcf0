"""Which symbols have traded since when."""

from collections.abc import Collection, Sequence

from services.runtime.broadcast import Broadcast
from services.runtime.journal import Entry


class Marks:
    """Numbers the moments at which trades came, and remembers the newest one of each symbol."""

    def __init__(self, trades: Broadcast) -> None:
        self._newest: dict[str, int] = {}
        """By symbol, the newest one last."""
        self.count = 0
        trades.listen(self._came)

    def changed_since(self, number: int, symbols: Collection[str] | None) -> list[str]:
        """Those of ``symbols`` (None: all) that traded after the moment ``number``."""
        changed = []
        for symbol, newest in reversed(self._newest.items()):
            if newest <= number:
                break
            if symbols is None or symbol in symbols:
                changed.append(symbol)
        return changed

    def _came(self, entries: Sequence[Entry]) -> None:
        self.count += 1
        for key in {entry.key for entry in entries}:
            self._newest.pop(key, None)
            self._newest[key] = self.count
