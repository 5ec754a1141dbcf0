"""What callers of marketdata can be told."""

from services.runtime.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


class SymbolNotFound(NotFound):
    """There is no such symbol."""

    reason = "SYMBOL_NOT_FOUND"


class NoMarketData(FailedPrecondition):
    """The symbol has not traded yet."""

    reason = "NO_MARKET_DATA"


class SymbolExists(AlreadyExists):
    """There is a symbol with this id and other content."""

    reason = "SYMBOL_EXISTS"


class SymbolActive(FailedPrecondition):
    """An active symbol cannot be deleted."""

    reason = "SYMBOL_ACTIVE"


class VersionConflict(Aborted):
    """The symbol has been changed since the version that the caller knows."""

    reason = "VERSION_CONFLICT"


class SourceNotFound(NotFound):
    """The settings name no such source."""

    reason = "SOURCE_NOT_FOUND"


class MarketNotAtSource(FailedPrecondition):
    """The source has no such market."""

    reason = "MARKET_NOT_AT_SOURCE"


class BookNotAvailable(FailedPrecondition):
    """The order book is not followed, or is being synchronised."""

    reason = "BOOK_NOT_AVAILABLE"


class LiquidityTooSmall(FailedPrecondition):
    """The order book holds less than the amount."""

    reason = "LIQUIDITY_TOO_SMALL"


class RateNotFound(NotFound):
    """No exchange rate is known for that day or the seven days before it."""

    reason = "RATE_NOT_FOUND"


class BackfillJobNotFound(NotFound):
    """There is no such backfill."""

    reason = "BACKFILL_JOB_NOT_FOUND"


class BackfillJobExists(AlreadyExists):
    """There is a backfill with this id and other content."""

    reason = "BACKFILL_JOB_EXISTS"


class NoSourceCandles(FailedPrecondition):
    """The source has no candles of its own of this interval."""

    reason = "NO_SOURCE_CANDLES"


class IngestSequenceInvalid(InvalidArgument):
    """The sequence of a batch is not larger than that of the batch before."""

    reason = "INGEST_SEQUENCE_INVALID"
