"""What prediction refuses, and why. The texts are shown to callers."""

from services.runtime.errors import FailedPrecondition, NotFound


class SymbolNotFound(NotFound):
    """No source has such a symbol."""

    reason = "SYMBOL_NOT_FOUND"

    def __init__(self, symbol: str) -> None:
        super().__init__(f"symbol {symbol} is not known; ListSymbols lists them all", symbol=symbol)


class ModelNotFound(NotFound):
    """There is no such model version."""

    reason = "MODEL_NOT_FOUND"

    def __init__(self, model_version: str) -> None:
        super().__init__(f"there is no model {model_version}; ListModels lists them all", model_version=model_version)


class NoActiveModel(FailedPrecondition):
    """No model serves yet."""

    reason = "NO_ACTIVE_MODEL"

    def __init__(self) -> None:
        super().__init__("no model is active yet; GetTraining tells how far the first one is")


class FeaturesNotReady(FailedPrecondition):
    """Too few consecutive candles of the symbol are known."""

    reason = "FEATURES_NOT_READY"

    def __init__(self, symbol: str, needed: int) -> None:
        super().__init__(
            f"{needed} consecutive candles of {symbol} are needed, and fewer are known; try again later", symbol=symbol
        )
