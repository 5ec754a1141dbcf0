"""The order book and its changes."""

from services.simex.book import Book
from tests.unit.simex.builders import a_stochastic_market, the_books


def test_the_book_stands_around_the_last_trade() -> None:
    market, clock = a_stochastic_market(days=0.2)
    maker = the_books(market)["ETHUSDT"]
    for _ in range(200):
        clock.advance(777)
        book = maker.now()
        last = int(market.listings["ETHUSDT"].last_trades(1).prices[0])
        best_bid, best_ask = next(iter(book.bids)), next(iter(book.asks))

        assert last in (best_bid, best_ask)
        assert best_ask == best_bid + 1
        assert list(book.bids) == sorted(book.bids, reverse=True)
        assert list(book.asks) == sorted(book.asks)
        assert min([*book.bids.values(), *book.asks.values()]) > 0


def test_the_book_is_a_function_of_time() -> None:
    one, other = (a_stochastic_market(days=0.2) for _ in range(2))
    the_books(one[0])["ETHUSDT"].now()
    for _, clock in (one, other):
        clock.advance(60_000)

    assert the_books(one[0])["ETHUSDT"].now() == the_books(other[0])["ETHUSDT"].now()


def test_changes_applied_to_a_book_give_the_next_one_whoever_looked_between() -> None:
    market, clock = a_stochastic_market(days=0.2)
    maker = the_books(market)["BTCUSDT"]
    changes, copy, told = maker.follow(), maker.now(), 0
    for step in range(300):
        clock.advance(100)
        maker.now()
        if step % 7:
            continue
        book = maker.now()
        news = changes.take(book)
        assert news is not None
        first_id, changed = news
        assert first_id == copy.version + 1
        copy = Book(changed.version, _applied(copy.bids, changed.bids), _applied(copy.asks, changed.asks))

        assert copy == book
        told += len(changed.bids)
    assert told < 0.4 * 300 / 7 * len(copy.bids)  # changes are few beside whole books


def test_a_book_that_has_not_changed_has_no_news() -> None:
    market, _ = a_stochastic_market(days=0.2)
    maker = the_books(market)["BTCUSDT"]
    changes = maker.follow()

    assert changes.take(maker.now()) is None


def _applied(side: dict[int, int], changed: dict[int, int]) -> dict[int, int]:
    return {price: quantity for price, quantity in {**side, **changed}.items() if quantity}
