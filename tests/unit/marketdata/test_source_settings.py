"""Sources are chosen in a list, and a wrong list is refused with words."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.marketdata.domain.market import AssetType, SourceKind
from services.marketdata.source_settings import (
    EcbSettings,
    EquitySettings,
    ExchangeSettings,
    IngestSettings,
    sources_from,
    sources_from_file,
    sources_from_json,
)


def test_naming_an_exchange_is_enough() -> None:
    (source,) = sources_from_json('[{"kind": "exchange", "exchange": "okx"}]')
    assert isinstance(source, ExchangeSettings)
    assert (source.name, source.base_url, source.symbols, source.source_kind) == ("okx", "", (), SourceKind.EXCHANGE)


def test_each_kind_has_its_own_settings_and_a_name_by_default() -> None:
    described: list[dict[str, Any]] = [
        {"kind": "exchange", "exchange": "kraken", "name": "first", "symbols": ["BTC-USD"], "book_depth": 25},
        {"kind": "equity", "symbols": ["AAPL", "BRK-B"]},
        {"kind": "ecb"},
        {"kind": "rates", "style": "frankfurter"},
        {"kind": "file", "path": "/data", "asset_type": "fx"},
        {"kind": "ingest", "name": "desk", "symbols": [{"symbol": "BTC-USDT", "price_step": "0.01"}]},
    ]
    sources = sources_from(described)
    assert [source.name for source in sources] == ["first", "yahoo", "ecb", "frankfurter", "file", "desk"]
    assert [source.source_kind.value for source in sources] == [each["kind"] for each in described]
    assert isinstance(sources[1], EquitySettings)
    assert isinstance(sources[2], EcbSettings)
    assert isinstance(sources[5], IngestSettings)
    assert sources[5].symbols[0].price_step == Decimal("0.01")
    assert sources[4].kind == "file"
    assert sources[4].asset_type is AssetType.FX


def test_numbers_in_json_stay_exact() -> None:
    text = '[{"kind": "ingest", "symbols": [{"symbol": "A-B", "price_step": 0.1}]}]'
    (source,) = sources_from_json(text)
    assert isinstance(source, IngestSettings)
    assert source.symbols[0].price_step == Decimal("0.1")


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_file_lists_sources_in_yaml_or_json(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sources.{suffix}"
    described = [{"kind": "exchange", "exchange": "bybit"}, {"kind": "ecb"}]
    path.write_text(json.dumps(described) if suffix == "json" else "- {kind: exchange, exchange: bybit}\n- kind: ecb\n")
    assert [source.name for source in sources_from_file(path)] == ["bybit", "ecb"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{", "is no JSON"),
        ('{"kind": "ecb"}', "MARKETDATA_SOURCES: source list: Input should be a valid tuple"),
        ('[{"kind": "cex"}]', "source 1: Input tag 'cex'"),
        ('[{"kind": "ecb"}, {"kind": "exchange"}]', "source 2, exchange: Field required"),
        ('[{"kind": "ecb", "pol_seconds": 1}]', "source 1, pol_seconds: Extra inputs are not permitted"),
        ('[{"kind": "exchange", "exchange": "okx", "symbols": ["BTC/USDT"]}]', "write base and quote like BTC-USDT"),
        ('[{"kind": "equity", "symbols": ["a b"]}]', "'a b' is no ticker"),
        ('[{"kind": "ecb"}, {"kind": "ecb"}]', "several sources are called ecb; give each another `name`"),
        ('[{"kind": "ecb", "name": "Sim-Ex"}]', "source 1, name: String should match pattern"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused_and_where_is_said(text: str, words: str) -> None:
    with pytest.raises(ValueError, match="MARKETDATA_SOURCES") as refused:
        sources_from_json(text)
    assert words in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"MARKETDATA_SOURCES_FILE .*none\.yaml cannot be read"):
        sources_from_file(tmp_path / "none.yaml")
