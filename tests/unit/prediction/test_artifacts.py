"""Models in an object store of files."""

import hashlib
from pathlib import Path

import pytest

from services.prediction.adapters.artifacts import StoredArtifacts
from services.prediction.ports import ArtifactUnusable
from services.runtime.object_store import ObjectStore


async def test_an_artifact_comes_back_as_it_was(tmp_path: Path) -> None:
    store = StoredArtifacts(ObjectStore(f"file://{tmp_path}/models"))
    await store.put("m1", b"a model")

    assert await store.get("m1", hashlib.sha256(b"a model").hexdigest()) == b"a model"


async def test_an_altered_artifact_is_not_loaded(tmp_path: Path) -> None:
    store = StoredArtifacts(ObjectStore(f"file://{tmp_path}"))
    await store.put("m1", b"a model")
    (tmp_path / "m1" / "model.txt").write_bytes(b"a modal")

    with pytest.raises(ArtifactUnusable):
        await store.get("m1", hashlib.sha256(b"a model").hexdigest())
