"""LightGBM, the boosted learner of the stack: one booster per label, stopped early on held-out rows."""

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

# small trees and strong shrinkage: a few thousand rows, and rare labels
PARAMETERS: dict[str, Any] = {
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
    """LightGBM on features (n, d)."""

    booster: lgb.Booster

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, seed: int, monotone: int) -> "Boosted":
        """Stops early on the rows `held_out` (n,) bool, then fits all rows with that number of trees.

        The logit never falls when one of the first `monotone` features rises.
        """
        constraints = [1] * monotone + [0] * (x.shape[1] - monotone)
        parameters = PARAMETERS | {"seed": seed, "monotone_constraints": constraints}
        train = lgb.Dataset(x[~held_out], y[~held_out])
        valid = lgb.Dataset(x[held_out], y[held_out], train)
        watched, stop = parameters | {"metric": "binary_logloss"}, lgb.early_stopping(PATIENCE, verbose=False)
        stopped = lgb.train(watched, train, MAX_ROUNDS, [valid], callbacks=[stop])
        return cls(lgb.train(parameters, lgb.Dataset(x, y), max(1, stopped.best_iteration)))

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,) raw scores."""
        return np.asarray(self.booster.predict(x, raw_score=True, num_threads=1))

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature, and a constant (SHAP values, Lundberg et al. 2018)."""
        return np.asarray(self.booster.predict(x, pred_contrib=True, num_threads=1))
