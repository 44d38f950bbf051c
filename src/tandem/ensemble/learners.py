"""What a stack learns: for each label boosted trees and a logistic regression, and the weights of a mean."""

from dataclasses import dataclass, field
from typing import Any

import lightgbm as lgb
import numpy as np
from sklearn.linear_model import LogisticRegression

from tandem.logits import bce_from_logits, smoothed_log_odds

# small trees and strong shrinkage: a few thousand rows, and rare labels
PARAMETERS: dict[str, Any] = {"objective": "binary", "learning_rate": 0.1, "num_leaves": 6, "min_data_in_leaf": 20}
PARAMETERS |= {"feature_fraction": 0.3, "bagging_fraction": 0.8, "bagging_freq": 1, "lambda_l2": 10.0, "max_bin": 63}
PARAMETERS |= {"deterministic": True, "force_row_wise": True, "verbosity": -1}
PARAMETERS["num_threads"] = 1  # labels run side by side instead
MAX_ROUNDS, PATIENCE = 300, 10
BAGS, MAX_ROWS, MAX_PICKS = 10, 2000, 30  # of `hill_climb`; a bag needs few rows, because there are few weights
PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C, inverse strength of the L2 penalty


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


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on features (n, d).

    coef   (d,) on the features as they are, not standardised
    mean   (d,) of the features over the rows fitted
    gains  (d,) by how much each feature lowers the summed loss of the held-out rows; empty once read from a file
    """

    coef: np.ndarray
    bias: float
    mean: np.ndarray
    gains: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, held_out: np.ndarray) -> "Logistic":
        """Chooses the penalty on the rows `held_out` (n,) bool, then fits all rows on standardised features.

        A label that never or always occurs gets its smoothed log-odds.
        """
        mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64) + 1e-6
        scaled = (x - mean) / deviation
        penalty, gains = _choose_penalty(scaled, y, held_out)
        if not 0 < y.sum() < len(y):
            return cls(np.zeros(x.shape[1]), float(smoothed_log_odds(y)), mean, gains)
        model = _regress(scaled, y, penalty)
        coef = model.coef_[0] / deviation
        return cls(coef, float(model.intercept_[0] - coef @ mean), mean, gains)

    def logits(self, x: np.ndarray) -> np.ndarray:
        return x @ self.coef + self.bias

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: coefficient x (feature - its mean), and the constant."""
        constant = np.full((len(x), 1), self.bias + self.mean @ self.coef)
        return np.concatenate([(x - self.mean) * self.coef, constant], axis=1)


def _choose_penalty(x: np.ndarray, y: np.ndarray, held_out: np.ndarray) -> tuple[float, np.ndarray]:
    """(penalty of lowest held-out loss, `gains` of Logistic with it)."""
    penalty, lowest, gains = PENALTIES[0], np.inf, np.zeros(x.shape[1])
    fit_x, fit_y, test_x, test_y = x[~held_out], y[~held_out], x[held_out], y[held_out, None]
    for c in PENALTIES if 0 < fit_y.sum() < len(fit_y) else ():
        model = _regress(fit_x, fit_y, c)
        logits = model.decision_function(test_x)[:, None]
        loss = bce_from_logits(logits, test_y).sum(0)[0]
        if loss < lowest:
            without_each = logits - test_x * model.coef_[0]
            penalty, lowest, gains = c, loss, bce_from_logits(without_each, test_y).sum(0) - loss
    return penalty, gains


def _regress(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="newton-cholesky", max_iter=50).fit(x, y)


def hill_climb(logits: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """(m,) weights >= 0 that sum to 1, of low log loss for the weighted mean of logits (n, m, c).

    Bagged greedy selection (Caruana et al. 2004): each bag draws half of the rows and starts without a member; it adds
    the member that lowers the loss most, with replacement, until none does. Weight 0: no bag selects the member.
    """
    rng, n, weights = np.random.default_rng(seed), len(y), np.zeros(logits.shape[1])
    for _ in range(BAGS):
        rows = rng.choice(n, max(1, min(n // 2, MAX_ROWS)), replace=False)
        weights += _select_greedily(logits[rows], y[rows].astype(np.float32))
    return weights / weights.sum()


def _select_greedily(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    m = logits.shape[1]
    total, best, counts = np.zeros(y.shape, np.float32), np.inf, np.zeros(m)
    for picks in range(MAX_PICKS):
        losses = [float(bce_from_logits((total + logits[:, i]) / (picks + 1), y).mean()) for i in range(m)]
        i = int(np.argmin(losses))
        if losses[i] >= best - 1e-7:
            break
        best, total = losses[i], total + logits[:, i]
        counts[i] += 1
    return counts / counts.sum()


def fit_shift_and_scale(logits: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(shift, scale), shared by all labels, of lowest log loss for shift + scale x logits (n, c) (Platt 1999).

    Averaged logits are underconfident; this corrects it.
    """
    fitted = LogisticRegression(C=1e6, solver="newton-cholesky").fit(logits.reshape(-1, 1), y.ravel())
    return float(fitted.intercept_[0]), float(fitted.coef_[0, 0])
