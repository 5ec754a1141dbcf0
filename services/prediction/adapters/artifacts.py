"""Trained models in the object store, each checked against its hash when it is loaded."""

import hashlib

from services.prediction.ports import ArtifactUnusable
from services.runtime.object_store import ObjectNotFound, ObjectStore


class StoredArtifacts:
    """Keeps the artifact of each model version as one object."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    async def put(self, model_version: str, artifact: bytes) -> None:
        await self._objects.put(_key(model_version), artifact)

    async def get(self, model_version: str, sha256: str) -> bytes:
        try:
            artifact = await self._objects.get(_key(model_version))
        except ObjectNotFound as error:
            raise ArtifactUnusable(str(error)) from error
        if hashlib.sha256(artifact).hexdigest() != sha256:
            raise ArtifactUnusable("what is stored is not what was registered")
        return artifact


def _key(model_version: str) -> str:
    return f"{model_version}/model.txt"
