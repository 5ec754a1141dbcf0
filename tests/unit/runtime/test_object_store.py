"""Objects in files."""

from pathlib import Path

import pytest

from services.runtime.object_store import ObjectNotFound, ObjectStore


async def test_an_object_is_replaced_as_a_whole_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    store = ObjectStore(f"file://{tmp_path}/objects")
    await store.put("a/b.txt", b"first")
    await store.put("a/b.txt", b"second")

    assert await store.get("a/b.txt") == b"second"
    assert [path.name for path in (tmp_path / "objects" / "a").iterdir()] == ["b.txt"]


async def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFound):
        await ObjectStore(f"file://{tmp_path}").get("nothing")


@pytest.mark.parametrize("key", ["", "/etc/passwd", "../up", "a/../../b", "a//b", "a/."])
async def test_a_key_cannot_leave_the_store(tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="not a key"):
        await ObjectStore(f"file://{tmp_path}/objects").put(key, b"")
