"""LightGBM, the boosted learner of the stack: one booster per label, stopped early on held-out rows."""

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np

from tandem.logits import smoothed_log_odds
from tandem.runtime.resources import threads

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
MANY_ROWS = 10_000


@dataclass(frozen=True)
class Boosted:
    """A constant, and LightGBM on features (n, d) on top of it; without a booster only the constant."""

    booster: lgb.Booster | None
    bias: float = 0.0

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, held_out: np.ndarray, seed: int, monotone: int) -> "Boosted":
        """Stops early on the rows `held_out` (n,) bool, then fits all rows with that number of trees.

        The constant is the smoothed log-odds of y; a label that never or always occurs, or has too few rows for a
        tree, gets no booster. Where the other rows have one class, no number of trees can be chosen: then it is one.
        The logit never falls when one of the first `monotone` features rises.
        """
        bias = float(smoothed_log_odds(y))
        if not 0 < y.sum() < len(y) or len(y) < 2 * PARAMETERS["min_data_in_leaf"]:
            return cls(None, bias)
        constraints = [1] * monotone + [0] * (x.shape[1] - monotone)
        parameters = PARAMETERS | {"seed": seed, "monotone_constraints": constraints}
        rounds = _choose_rounds(x, y, held_out, parameters) if 0 < y[~held_out].sum() < (~held_out).sum() else 1
        return cls(lgb.train(parameters, _dataset(x, y, bias), rounds), bias)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,) raw scores."""
        if self.booster is None:
            return np.full(len(x), self.bias)
        return self.bias + np.asarray(self.booster.predict(x, raw_score=True, num_threads=_threads(x)))

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature, and a constant (SHAP values, Lundberg et al. 2018)."""
        out = np.zeros((len(x), x.shape[1] + 1))
        if self.booster is not None:
            out += self.booster.predict(x, pred_contrib=True, num_threads=_threads(x))
        out[:, -1] += self.bias
        return out


def _threads(x: np.ndarray) -> int:
    """To predict with: rows do not depend on each other, and of few rows threads cost more than they save."""
    return threads() if len(x) >= MANY_ROWS else 1


def _choose_rounds(x: np.ndarray, y: np.ndarray, held_out: np.ndarray, parameters: dict[str, Any]) -> int:
    bias = float(smoothed_log_odds(y[~held_out]))
    train = _dataset(x[~held_out], y[~held_out], bias)
    valid = _dataset(x[held_out], y[held_out], bias, train)
    watched, stop = parameters | {"metric": "binary_logloss"}, lgb.early_stopping(PATIENCE, verbose=False)
    return max(1, lgb.train(watched, train, MAX_ROUNDS, [valid], callbacks=[stop]).best_iteration)


def _dataset(x: np.ndarray, y: np.ndarray, bias: float, reference: lgb.Dataset | None = None) -> lgb.Dataset:
    return lgb.Dataset(x, y, reference, init_score=np.full(len(y), bias))
