"""Anchors in a file."""

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.auth.adapters.audit_anchors import AnchorFile
from services.auth.domain.audit import Anchor, AnchorsUnreadable

NOON = datetime(2024, 8, 8, 12, tzinfo=UTC)


def anchor(sequence: int, mark: int = 7) -> Anchor:
    return Anchor(sequence, bytes([mark]) * 32, NOON)


def first_line(path: Path) -> dict[str, object]:
    assert path.stat().st_mode & 0o077 == 0, "nobody else may write"
    told: dict[str, object] = json.loads(path.read_text().splitlines()[0])
    return told


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "audit" / "anchors.jsonl"


async def test_anchors_are_read_as_they_were_written_a_line_each(path: Path) -> None:
    file = AnchorFile(path)
    assert list(file.all()) == []

    for sequence in (1, 5, 900):
        await file.add(anchor(sequence))

    assert list(AnchorFile(path).all()) == [anchor(1), anchor(5), anchor(900)]
    assert first_line(path) == {"sequence": 1, "hash": "07" * 32, "time": "2024-08-08T12:00:00+00:00"}


async def test_the_same_head_is_anchored_once(path: Path) -> None:
    for _ in range(3):
        await AnchorFile(path).add(anchor(4))

    assert list(AnchorFile(path).all()) == [anchor(4)]


@pytest.mark.parametrize("shrunken", [anchor(3), anchor(4, mark=8)], ids=["shorter", "another of the same length"])
async def test_a_chain_that_lost_something_is_not_anchored_and_the_log_says_so(
    path: Path, caplog: pytest.LogCaptureFixture, shrunken: Anchor
) -> None:
    file = AnchorFile(path)
    await file.add(anchor(4))

    await file.add(shrunken)

    assert list(file.all()) == [anchor(4)]
    assert [record.levelno for record in caplog.records] == [logging.CRITICAL]


async def test_what_a_crash_left_of_a_line_is_not_read_and_the_next_anchor_takes_its_place(path: Path) -> None:
    file = AnchorFile(path)
    await file.add(anchor(1))
    with path.open("ab") as torn:
        torn.write(b'{"sequence": 2, "ha')
    assert list(file.all()) == [anchor(1)]

    await file.add(anchor(3))

    assert list(file.all()) == [anchor(1), anchor(3)]


@pytest.mark.parametrize("line", ["{}", "nothing", '{"sequence": 1, "hash": "zz", "time": ""}', "[]"])
async def test_a_line_that_is_no_anchor_is_named(path: Path, line: str) -> None:
    file = AnchorFile(path)
    await file.add(anchor(1))
    with path.open("a") as changed:
        changed.write(f"{line}\n")

    with pytest.raises(AnchorsUnreadable, match="line 2"):
        list(file.all())


async def test_what_is_added_while_somebody_reads_is_not_read(path: Path) -> None:
    file = AnchorFile(path)
    await file.add(anchor(1))
    reading = file.all()

    await file.add(anchor(2))

    assert list(reading) == [anchor(1)]
