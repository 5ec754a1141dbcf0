"""Reading the registry."""

from services.prediction.domain.models import Model
from services.prediction.errors import ModelNotFound
from services.prediction.ports import Registry

ACTIVE = "active"
"""Stands for the version of the model that predicts."""


class GetModel:
    """One model with its card."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def __call__(self, model_version: str) -> Model:
        """Raises ModelNotFound, also for the active one when none is."""
        model = await (self._registry.active() if model_version == ACTIVE else self._registry.by_version(model_version))
        if model is None:
            raise ModelNotFound(model_version)
        return model
