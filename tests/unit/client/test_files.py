"""Files that several processes share."""

import asyncio
import multiprocessing
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from levimesh.client import ProfileError
from levimesh.client.files import locked, read_object, write_object


def hold(path: Path, held: Event, release: Event) -> None:
    """Hold the lock of ``path`` in a process of its own until it is told, or killed."""

    async def holding() -> None:
        async with locked(path):
            held.set()
            release.wait(30)

    asyncio.run(holding())


async def test_a_lock_keeps_another_process_out_until_it_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "home" / "credentials.json"
    processes = multiprocessing.get_context("spawn")
    held, release = processes.Event(), processes.Event()
    holder = processes.Process(target=hold, args=(path, held, release))
    holder.start()
    try:
        assert await asyncio.to_thread(held.wait, 30)
        with pytest.raises(ProfileError, match=r"another process has held .*credentials\.json\.lock"):
            async with locked(path, patience=0.1):
                pytest.fail("it was held")
        release.set()
        async with locked(path):
            pass
    finally:
        release.set()
        holder.join(30)


async def test_the_lock_of_a_process_that_was_killed_is_free(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    processes = multiprocessing.get_context("spawn")
    held, release = processes.Event(), processes.Event()
    holder = processes.Process(target=hold, args=(path, held, release))
    holder.start()
    assert await asyncio.to_thread(held.wait, 30)

    holder.kill()
    holder.join(30)

    async with locked(path, patience=5):
        pass


async def test_a_lock_that_was_not_waited_for_to_the_end_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"

    async def take() -> None:
        async with locked(path):
            pass

    async with locked(path):
        waiting = asyncio.create_task(take())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    async with locked(path, patience=1):
        pass


def test_what_is_written_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "home" / "credentials.json"
    path.parent.mkdir(mode=0o700)
    path.touch(mode=0o644)

    write_object(path, {"a": 1})

    assert read_object(path) == {"a": 1}
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    path = tmp_path / "home" / "credentials.json"

    with pytest.raises(ProfileError, match=r"credentials\.json cannot be written"):
        write_object(path, {})
    with pytest.raises(ProfileError, match=r"credentials\.json\.lock cannot be opened"):
        async with locked(path):
            pass
