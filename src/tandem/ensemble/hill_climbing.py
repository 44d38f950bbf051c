"""The weights of a mean of logits by hill climbing, and the shift and scale after it."""

import numpy as np
from scipy.optimize import minimize

from tandem.logits import bce_from_logits, sigmoid

BAGS, MAX_ROWS, MAX_PICKS = 10, 2000, 30  # of `hill_climb`; a bag needs few rows, because there are few weights
MAX_CELLS = 200_000  # rows x labels of a bag: of more than 100 labels it draws fewer rows
MAX_FITTED = 2_000_000  # rows x labels that two numbers are fitted on: of more a part of the rows is drawn
MIN_SCALE = 0.1  # of `fit_shift_and_scale`: a higher mean of logits is always a higher probability


def hill_climb(logits: np.ndarray, y: np.ndarray, seed: int, known: np.ndarray | None = None) -> np.ndarray:
    """(m,) weights >= 0 that sum to 1, of low log loss for the weighted mean of logits (n, m, c) on known cells.

    Bagged greedy selection (Caruana et al. 2004): each bag draws half of the rows and starts without a member; it adds
    the member that lowers the loss most, with replacement, until none does. Weight 0: no bag selects the member.
    """
    rng, (n, c), weights = np.random.default_rng(seed), y.shape, np.zeros(logits.shape[1])
    for _ in range(BAGS):
        rows = rng.choice(n, max(1, min(n // 2, MAX_ROWS, MAX_CELLS // c)), replace=False)
        weights += _select_greedily(logits[rows], y[rows].astype(np.float32), None if known is None else known[rows])
    return weights / weights.sum()


def _select_greedily(logits: np.ndarray, y: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    m = logits.shape[1]
    total, best, counts = np.zeros(y.shape, np.float32), np.inf, np.zeros(m)
    for picks in range(MAX_PICKS):
        losses = [_mean_loss((total + logits[:, i]) / (picks + 1), y, known) for i in range(m)]
        i = int(np.argmin(losses))
        if losses[i] >= best - 1e-7:
            break
        best, total = losses[i], total + logits[:, i]
        counts[i] += 1
    return counts / counts.sum()


def _mean_loss(logits: np.ndarray, y: np.ndarray, known: np.ndarray | None) -> float:
    losses = bce_from_logits(logits, y)
    return float(losses.mean() if known is None else losses[known].sum() / max(known.sum(), 1))


def fit_shift_and_scale(logits: np.ndarray, y: np.ndarray, known: np.ndarray | None = None) -> tuple[float, float]:
    """(shift, scale >= MIN_SCALE) of all labels, of lowest log loss for shift + scale x logits (n, c), on known cells
    (Platt 1999).

    A normal prior of unit variance around (0, 1) keeps them moderate where there are few cells or one class.
    """
    if y.size > MAX_FITTED:
        rows = np.random.default_rng(0).choice(len(y), max(1, MAX_FITTED // y.shape[1]), replace=False)
        logits, y, known = logits[rows], y[rows], None if known is None else known[rows]
    # averaged logits are underconfident
    cells = np.s_[:, :] if known is None else known
    z, t = logits[cells].ravel().astype(np.float64), y[cells].ravel().astype(np.float64)

    n = max(len(t), 1)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """(mean loss of the cells with the prior, its gradient)."""
        away = parameters - (0.0, 1.0)
        moved = parameters[0] + parameters[1] * z
        error = sigmoid(moved) - t
        total = bce_from_logits(moved, t).sum() + 0.5 * away @ away
        return total / n, (np.array([error.sum(), error @ z]) + away) / n

    bounds = [(None, None), (MIN_SCALE, None)]
    shift, scale = minimize(loss, (0.0, 1.0), jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12}).x
    return float(shift), float(scale)
