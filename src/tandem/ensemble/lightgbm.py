"""LightGBM for one label of the second level, saved in LightGBM's text format."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightgbm as lgb
import numpy as np

from tandem.artifacts.atomic_io import write_text

# small trees and strong shrinkage: a few thousand rows, and rare labels
PARAMETERS = {
    "objective": "binary",
    "learning_rate": 0.1,
    "num_leaves": 6,
    "min_data_in_leaf": 20,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "max_bin": 63,
    "num_threads": 1,  # labels run side by side instead
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}
MAX_ROUNDS, PATIENCE = 300, 10


@dataclass(frozen=True)
class Boosted:
    """Boosted trees on features (n, d)."""

    booster: lgb.Booster

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, seed: int = 0, monotone: int = 0) -> "Boosted":
        """Stops early on the rows `held_out` (n,) bool, then fits all rows with that number of trees.

        The logit never falls when one of the first `monotone` features rises.
        """
        parameters: dict[str, Any] = PARAMETERS | {"seed": seed}
        parameters["monotone_constraints"] = [1] * monotone + [0] * (x.shape[1] - monotone)
        rounds = _stop_early(x, y, held_out, parameters)
        return cls(lgb.train(parameters, _dataset(x, y), rounds))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,) raw scores."""
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1))

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature, and a constant (SHAP values, Lundberg et al. 2018)."""
        return np.asarray(self.booster.predict(x, pred_contrib=True, num_threads=1))

    def save(self, path: Path) -> None:
        write_text(path, self.booster.model_to_string())

    @classmethod
    def load(cls, path: Path) -> "Boosted":
        return cls(lgb.Booster(model_str=path.read_text(encoding="utf-8")))


def _stop_early(x: np.ndarray, y: np.ndarray, held_out: np.ndarray, parameters: dict[str, Any]) -> int:
    """Number of trees of lowest log loss on the held-out rows."""
    train = _dataset(x[~held_out], y[~held_out])
    stopped = lgb.train(
        parameters | {"metric": "binary_logloss"},
        train,
        MAX_ROUNDS,
        valid_sets=[_dataset(x[held_out], y[held_out], train)],
        callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
    )
    return max(1, stopped.best_iteration)


def _dataset(x: np.ndarray, y: np.ndarray, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    parameters = {"verbosity": -1, "max_bin": PARAMETERS["max_bin"]}
    return lgb.Dataset(x, y.astype(np.float32), reference=reference, params=parameters)
