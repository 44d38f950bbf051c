"""Logistic regression of one label, the linear learner of the stack."""

from dataclasses import dataclass, field

import numpy as np
from sklearn.linear_model import LogisticRegression

from tandem.logits import bce_from_logits, smoothed_log_odds

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C, inverse strength of the L2 penalty


@dataclass(frozen=True)
class Logistic:
    """A logistic regression on features (n, d)."""

    coef: np.ndarray  # (d,) on the features as they are, not standardised
    bias: float
    mean: np.ndarray  # (d,) of the features over the rows fitted
    # (d,) by how much each feature lowers the summed loss of the held-out rows; empty once read from a file
    gains: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def fit(cls, x: np.ndarray, y: np.ndarray, held_out: np.ndarray) -> "Logistic":
        """Chooses the penalty on the rows `held_out` (n,) bool, then fits all rows on standardised features.

        A label that never or always occurs gets its smoothed log-odds, and one without rows 0.
        """
        if not len(y):
            zeros = np.zeros(x.shape[1])
            return cls(zeros, 0.0, zeros, zeros)
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
