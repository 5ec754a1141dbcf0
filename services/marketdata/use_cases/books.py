"""Order books as they are now."""

from dataclasses import replace

from services.marketdata.books import Books
from services.marketdata.catalog import Catalog
from services.marketdata.domain.book import BookSnapshot
from services.marketdata.domain.book_cost import Amount, BookSide, Cost, cost_of
from services.marketdata.errors import BookNotAvailable

_DEFAULT_DEPTH = 20


class GetOrderBook:
    """Tell the order book of a symbol, from memory."""

    def __init__(self, catalog: Catalog, books: Books) -> None:
        self._catalog = catalog
        self._books = books

    def __call__(self, symbol: str, depth: int) -> BookSnapshot:
        book = _book(self._catalog, self._books, symbol)
        depth = depth or _DEFAULT_DEPTH
        return replace(book, bids=book.bids[:depth], asks=book.asks[:depth])


class GetBookVwap:
    """Tell what an amount would cost now: a quantity of the base asset, or else a notional of the quote asset."""

    def __init__(self, catalog: Catalog, books: Books) -> None:
        self._catalog = catalog
        self._books = books

    def __call__(self, symbol: str, side: BookSide, amount: Amount) -> Cost:
        return cost_of(_book(self._catalog, self._books, symbol), side, amount)


def _book(catalog: Catalog, books: Books, symbol: str) -> BookSnapshot:
    if not catalog.get(symbol).book_depth:
        raise BookNotAvailable(
            f"the order book of {symbol} is not followed; give the symbol a book_depth", symbol=symbol
        )
    return books.snapshot(symbol)
