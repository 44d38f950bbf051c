"""Non-negative weights by greedy selection with replacement, bagged (Caruana et al. 2004), and the scale after it."""

import numpy as np
from sklearn.linear_model import LogisticRegression

BAGS, ROWS, PICKS = 10, 2000, 30  # at most so many rows a bag: the weights are few


def hill_climb(logits: np.ndarray, y: np.ndarray, seed: int) -> np.ndarray:
    """(m,) weights of the members that sum to 1, of low log loss for the weighted mean of logits.

    logits (n, m, c), y (n, c). Each bag starts from nothing on its own half of the rows and adds the member that lowers
    the loss most, with replacement, until none does. A member that no bag picks has weight 0: it never helps.
    """
    n, m, _ = logits.shape
    rng = np.random.default_rng(seed)
    weights = np.zeros(m)
    for _ in range(BAGS):
        rows = rng.choice(n, max(1, min(n // 2, ROWS)), replace=False)
        weights += _picked(logits[rows], y[rows].astype(np.float32))
    return weights / weights.sum()


def _picked(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    m = logits.shape[1]
    total, best, counts = np.zeros(y.shape, np.float32), np.inf, np.zeros(m)
    for taken in range(PICKS):
        losses = [_loss((total + logits[:, i]) / (taken + 1), y) for i in range(m)]
        i = int(np.argmin(losses))
        if losses[i] >= best - 1e-7:
            break
        best, total = losses[i], total + logits[:, i]
        counts[i] += 1
    return counts / counts.sum()


def _loss(logits: np.ndarray, y: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - y * logits).mean())


def rescale(logits: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(shift, scale) of lowest log loss for shift + scale x logits, (n, c) each: a mean of logits is unsure, and low.

    The two are shared by all labels (Platt 1999).
    """
    fitted = LogisticRegression(C=1e6, solver="newton-cholesky").fit(logits.reshape(-1, 1), y.ravel())
    return float(fitted.intercept_[0]), float(fitted.coef_[0, 0])
