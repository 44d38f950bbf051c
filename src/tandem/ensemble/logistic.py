"""Logistic regression of one label, the linear learner of the stack."""

import numpy as np
from sklearn.linear_model import LogisticRegression

PENALTIES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # C, inverse strength of the L2 penalty


class Logistic:
    """Logistic regression of one label on standardised features (n, d), with the penalty of lowest held-out loss."""

    def __init__(self, coef: np.ndarray | None = None, bias: float = 0.0, mean: np.ndarray | None = None):
        self.coef, self.bias, self.mean = coef, bias, mean  # on the features as they come

    def fit(self, x: np.ndarray, y: np.ndarray, held: np.ndarray) -> "Logistic":
        """`held` (n,) bool: rows on which the penalty is chosen, after which all rows are fitted.

        Sets `gains` (d,): by how much each feature lowers the summed loss of the held-out rows.
        """
        self.mean = mean = x.mean(0, dtype=np.float64)
        deviation = x.std(0, dtype=np.float64) + 1e-6
        scaled = (x - mean) / deviation
        best, least = PENALTIES[0], np.inf
        self.gains = np.zeros(x.shape[1])
        for c in PENALTIES if 0 < y[~held].sum() < (~held).sum() else ():
            model = _regress(scaled[~held], y[~held], c)
            logits = model.decision_function(scaled[held])
            loss = _loss(logits[:, None], y[held])[0]
            if loss < least:
                best, least = c, loss
                self.gains = _loss(logits[:, None] - scaled[held] * model.coef_[0], y[held]) - loss
        if 0 < y.sum() < len(y):
            model = _regress(scaled, y, best)
            self.coef = model.coef_[0] / deviation
            self.bias = float(model.intercept_[0] - self.coef @ mean)
        else:
            rate = (y.sum() + 0.5) / (len(y) + 1)
            self.coef, self.bias = np.zeros(x.shape[1]), float(np.log(rate / (1 - rate)))
        return self

    def logits(self, x: np.ndarray) -> np.ndarray:
        """(n,)"""
        return x @ self.coef + self.bias

    def contributions(self, x: np.ndarray) -> np.ndarray:
        """(n, d + 1) that sum to `logits`: of each feature's distance from its mean, and the constant."""
        constant = np.full((len(x), 1), self.bias + self.mean @ self.coef)
        return np.concatenate([(x - self.mean) * self.coef, constant], axis=1)


def _loss(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(k,) summed log loss of each column of logits (n, k)."""
    return (np.logaddexp(0, logits) - y[:, None] * logits).sum(0)


def _regress(x: np.ndarray, y: np.ndarray, c: float) -> LogisticRegression:
    return LogisticRegression(C=c, solver="newton-cholesky", max_iter=50).fit(x, y)
