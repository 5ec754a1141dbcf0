"""Symbols between protobuf and the domain."""

from typing import Any

from google.protobuf.message import Message

from levimesh.marketdata.v1 import symbol_pb2, symbol_service_pb2
from services.marketdata.domain.market import AssetType, Symbol, SymbolState
from services.marketdata.use_cases.symbols import NewSymbol
from services.runtime import decimals, timestamps
from services.runtime.errors import FieldViolations

_ASSET_TYPES = {
    AssetType.CRYPTO: symbol_pb2.ASSET_TYPE_CRYPTO,
    AssetType.FX: symbol_pb2.ASSET_TYPE_FX,
    AssetType.EQUITY: symbol_pb2.ASSET_TYPE_EQUITY,
}
_ASSET_TYPES_FROM_PB = {value: asset_type for asset_type, value in _ASSET_TYPES.items()}
_STATES = {
    SymbolState.ACTIVE: symbol_pb2.SYMBOL_STATE_ACTIVE,
    SymbolState.INACTIVE: symbol_pb2.SYMBOL_STATE_INACTIVE,
}
_STATES_FROM_PB = {value: state for state, value in _STATES.items()}
_MAY_BE_ABSENT = ("min_quantity", "max_quantity")
_RULES = ("price_step", "quantity_step", "min_notional", *_MAY_BE_ABSENT)


def symbol_to_pb(symbol: Symbol) -> symbol_pb2.Symbol:
    message = symbol_pb2.Symbol(
        symbol=symbol.symbol,
        base=symbol.base,
        quote=symbol.quote,
        source=symbol.source,
        source_symbol=symbol.source_symbol,
        price_step=decimals.to_pb(symbol.price_step),
        quantity_step=decimals.to_pb(symbol.quantity_step),
        min_notional=decimals.to_pb(symbol.min_notional),
        asset_type=_ASSET_TYPES[symbol.asset_type],
        state=_STATES[symbol.state],
        book_depth=symbol.book_depth,
        version=symbol.version,
    )
    for name in _MAY_BE_ABSENT:
        if (value := getattr(symbol, name)) is not None:
            getattr(message, name).CopyFrom(decimals.to_pb(value))
    for name in ("create_time", "update_time"):
        if (moment := getattr(symbol, name)) is not None:
            getattr(message, name).CopyFrom(timestamps.to_pb(moment))
    return message


def asset_type_to_pb(asset_type: AssetType) -> symbol_pb2.AssetType.ValueType:
    return _ASSET_TYPES[asset_type]


def asset_type_from_pb(value: symbol_pb2.AssetType.ValueType) -> AssetType | None:
    """None where all are meant."""
    return _ASSET_TYPES_FROM_PB.get(value)


def state_from_pb(value: symbol_pb2.SymbolState.ValueType) -> SymbolState | None:
    """None where all are meant."""
    return _STATES_FROM_PB.get(value)


def new_symbol_from_pb(request: symbol_service_pb2.CreateSymbolRequest) -> NewSymbol:
    rules = {name: _rule(request, name) for name in _RULES}
    depth = request.book_depth if request.HasField("book_depth") else None
    return NewSymbol(symbol=request.symbol, source_symbol=request.source_symbol, book_depth=depth, **rules)


def changes_from_pb(request: symbol_service_pb2.UpdateSymbolRequest) -> dict[str, Any]:
    """What `update_mask` names, by field. Raises FieldViolations when it names something needed that is absent."""
    masked = list(request.update_mask.paths)
    absent = [name for name in masked if name not in _MAY_BE_ABSENT and not _is_there(request, name)]
    if absent:
        raise FieldViolations(dict.fromkeys(absent, "update_mask names it, so it has to be given"))
    return {name: request.book_depth if name == "book_depth" else _rule(request, name) for name in masked}


def _rule(request: Message, name: str) -> Any:
    return decimals.from_pb(getattr(request, name)) if request.HasField(name) else None


def _is_there(request: Message, name: str) -> bool:
    return request.HasField(name)
