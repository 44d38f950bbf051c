"""The weights of a mean of logits by hill climbing, and the shift and scale after it."""

import numpy as np
from sklearn.linear_model import LogisticRegression

from tandem.logits import bce_from_logits

BAGS, MAX_ROWS, MAX_PICKS = 10, 2000, 30  # of `hill_climb`; a bag needs few rows, because there are few weights


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
    """(shift, scale) of all labels, of lowest log loss for shift + scale x logits (n, c) (Platt 1999)."""
    # averaged logits are underconfident
    fitted = LogisticRegression(C=1e6, solver="newton-cholesky").fit(logits.reshape(-1, 1), y.ravel())
    return float(fitted.intercept_[0]), float(fitted.coef_[0, 0])
