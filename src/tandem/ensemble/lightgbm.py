"""LightGBM for one label of the second level, saved as LightGBM's own text."""

from pathlib import Path

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
MOST_ROUNDS, PATIENCE = 300, 10


class Boosted:
    """One booster on (n, d) features; the number of trees comes from held-out training rows."""

    def __init__(self, seed: int = 0, booster: lgb.Booster | None = None):
        self.seed, self.booster = seed, booster

    def fit(self, x: np.ndarray, y: np.ndarray, held: np.ndarray, rising: int = 0) -> "Boosted":
        """`held` (n,) bool: the rows to stop on, after which all rows are fitted again. The logit never falls with
        one of the first `rising` features."""
        parameters = PARAMETERS | {"seed": self.seed}
        parameters["monotone_constraints"] = [1] * rising + [0] * (x.shape[1] - rising)
        rounds = self._rounds(x, y, held, parameters)
        self.booster = lgb.train(parameters, _dataset(x, y), rounds)
        return self

    def _rounds(self, x: np.ndarray, y: np.ndarray, held: np.ndarray, parameters: dict) -> int:
        train = _dataset(x[~held], y[~held])
        seen = lgb.train(
            parameters | {"metric": "binary_logloss"},
            train,
            MOST_ROUNDS,
            valid_sets=[_dataset(x[held], y[held], train)],
            callbacks=[lgb.early_stopping(PATIENCE, verbose=False)],
        )
        return max(1, seen.best_iteration)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,) raw scores."""
        return self.booster.predict(x, raw_score=True, num_threads=1)

    def save(self, path: Path) -> None:
        write_text(path, self.booster.model_to_string())

    @classmethod
    def load(cls, path: Path) -> "Boosted":
        return cls(booster=lgb.Booster(model_str=path.read_text(encoding="utf-8")))

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature, and a constant (SHAP values, Lundberg et al. 2018)."""
        return self.booster.predict(x, pred_contrib=True, num_threads=1)


def _dataset(x: np.ndarray, y: np.ndarray, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    parameters = {"verbosity": -1, "max_bin": PARAMETERS["max_bin"]}
    return lgb.Dataset(x, y.astype(np.float32), reference=reference, params=parameters)
