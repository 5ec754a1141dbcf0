"""A trained LightGBM model that serves single rows."""

import lightgbm
import numpy as np

from services.prediction.features.engine import FEATURE_NAMES, FeatureVector
from services.prediction.ports import ArtifactUnusable


class LightGbmClassifier:
    """The probability of "up" from a model in LightGBM's text format.

    Raises ArtifactUnusable when the model was trained on other features than those of this program.
    """

    def __init__(self, artifact: bytes) -> None:
        self._booster = lightgbm.Booster(model_str=artifact.decode())
        if tuple(self._booster.feature_name()) != FEATURE_NAMES:
            raise ArtifactUnusable("it was trained on other features than this version computes")

    def probability_up(self, features: FeatureVector) -> float:
        """The probability that the price is higher at the model's horizon."""
        return float(self._booster.predict(np.array([features]), num_threads=1)[0])
