"""The weights of a mean of logits by hill climbing, and the shift and scale after it."""

import numpy as np
from scipy.optimize import minimize

from tandem.logits import bce_from_logits, sigmoid

BAGS, MAX_ROWS, MAX_PICKS = 10, 2000, 30  # of `hill_climb`; a bag needs few rows, because there are few weights
MIN_SCALE = 0.1  # of `fit_shift_and_scale`: a higher mean of logits is always a higher probability


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
    """(shift, scale >= MIN_SCALE) of all labels, of lowest log loss for shift + scale x logits (n, c) (Platt 1999).

    A normal prior of unit variance around (0, 1) keeps them moderate where there are few cells or one class.
    """
    # averaged logits are underconfident
    z, t = logits.ravel().astype(np.float64), y.ravel().astype(np.float64)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """(mean loss of the cells with the prior, its gradient)."""
        away = parameters - (0.0, 1.0)
        moved = parameters[0] + parameters[1] * z
        error = sigmoid(moved) - t
        total = bce_from_logits(moved, t).sum() + 0.5 * away @ away
        return total / len(t), (np.array([error.sum(), error @ z]) + away) / len(t)

    bounds = [(None, None), (MIN_SCALE, None)]
    shift, scale = minimize(loss, (0.0, 1.0), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return float(shift), float(scale)
