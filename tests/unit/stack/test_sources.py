from pathlib import Path

import pytest

from services.stack.sources import Source, SourceError


@pytest.mark.parametrize("text", ["simex", "replay:/data", "ccxt:binance"])
def test_a_source_is_written_as_it_is_read(text: str) -> None:
    assert str(Source.parse(text)) == text


@pytest.mark.parametrize("text", ["", "binance", "replay:", "ccxt:", "ccxt:Bin ance", "simex:now", "file:/data"])
def test_what_is_no_source_is_refused_with_what_would_be_one(text: str) -> None:
    with pytest.raises(SourceError, match="use simex, replay:FOLDER or ccxt:EXCHANGE"):
        Source.parse(text)


def test_the_folder_of_a_replay_is_absolute_so_that_it_is_the_same_from_everywhere() -> None:
    assert Source.parse("replay:data").argument == str(Path.cwd() / "data")


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"there is no {tmp_path}/nowhere"):
        Source.parse(f"replay:{tmp_path}/nowhere").check()


def test_a_folder_without_files_to_replay_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()

    with pytest.raises(SourceError, match=f"there is no .parquet file in {tmp_path}"):
        Source.parse(f"replay:{tmp_path}").check()


def test_a_folder_with_files_and_a_single_file_can_be_replayed(tmp_path: Path) -> None:
    (tmp_path / "candles.parquet").touch()

    Source.parse(f"replay:{tmp_path}").check()
    Source.parse(f"replay:{tmp_path}/candles.parquet").check()


def test_a_mistyped_exchange_is_answered_with_those_that_look_like_it() -> None:
    with pytest.raises(SourceError, match="no exchange 'krakn' with live data; did you mean kraken"):
        Source.parse("ccxt:krakn").check()


def test_only_an_exchange_of_its_own_needs_no_simex() -> None:
    assert [Source.parse(text).needs_simex for text in ("simex", "replay:/data", "ccxt:kraken")] == [True, True, False]
