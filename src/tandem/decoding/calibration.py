"""Calibration: one curve per label, and weights of the set sizes.

Kinds: `none`; `platt`, a + b logit(p) (Platt 1999); `beta`, a + b log p - c log(1 - p) (Kull et al. 2017);
`isotonic`, a rising step function (Zadrozny and Elkan 2002). No curve falls anywhere: b and c are at least 0.
"""

from dataclasses import dataclass, field

import numpy as np

from tandem.decoding.expected_f import add_label
from tandem.logits import bce_from_logits, clip_proba, logit, sigmoid

KINDS = ("none", "platt", "beta", "isotonic")
RAREST = 1e-30  # probabilities of set sizes are at least this when weights are fitted, so that no weight overflows
PRIOR = 1.0  # L2 penalty on the distance from the identity: curves of rare labels stay close to it


@dataclass(frozen=True)
class Calibration:
    """A calibration curve for each label: coefficients, or for isotonic the knots' x, then as many y."""

    kind: str = "none"  # one of KINDS
    curves: list[list[float]] = field(default_factory=list)

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """(n, c) calibrated probabilities."""
        if self.kind == "none":
            return clip_proba(proba)
        if self.kind == "isotonic":
            knots = [np.split(np.array(curve), 2) for curve in self.curves]
            return clip_proba(np.column_stack([np.interp(proba[:, j], x, y) for j, (x, y) in enumerate(knots)]))
        return clip_proba(sigmoid(np.einsum("ncd,cd->nc", _terms(self.kind, proba), np.array(self.curves))))


def calibrate(kind: str, proba: np.ndarray, y: np.ndarray, known: np.ndarray | None = None) -> Calibration:
    """Fits the curves of one kind on probabilities (n, c) and labels (n, c), each on its known rows (n, c) bool."""
    if kind == "none":
        return Calibration()
    rows = [slice(None) if known is None else known[:, j] for j in range(y.shape[1])]
    if kind == "isotonic":
        return Calibration(kind, [_isotonic(proba[at, j], y[at, j]) for j, at in enumerate(rows)])
    terms = _terms(kind, proba)
    return Calibration(kind, [_rising(terms[at, j], y[at, j]) for j, at in enumerate(rows)])


def _terms(kind: str, proba: np.ndarray) -> np.ndarray:
    """(n, c, d): the terms that the logit of the curve is linear in."""
    p = clip_proba(proba)
    one = np.ones_like(p)
    return np.stack([one, logit(p)] if kind == "platt" else [one, np.log(p), -np.log1p(-p)], axis=2)


def _rising(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Coefficients without a negative slope: it is set to 0, and the others are fitted again (Kull et al. 2017)."""
    used, fitted = list(range(x.shape[1])), _logistic(x, y)
    while min(fitted[1:], default=0.0) < 0:
        used.pop(int(np.argmin(fitted[1:])) + 1)
        fitted = _logistic(x[:, used], y)
    w = np.zeros(x.shape[1])
    w[used] = fitted
    return w.tolist()


def _logistic(x: np.ndarray, y: np.ndarray) -> list[float]:
    """Penalised coefficients by Newton's method, starting from the identity."""
    w = identity = np.array([0.0, *[1.0] * (x.shape[1] - 1)])

    def objective(w: np.ndarray) -> float:
        return float(bce_from_logits(x @ w, y).sum() + 0.5 * PRIOR * ((w - identity) ** 2).sum())

    for _ in range(30):
        p, value = sigmoid(x @ w), objective(w)
        gradient = x.T @ (p - y) + PRIOR * (w - identity)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + PRIOR * np.eye(len(w))
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while scale > 1e-6 and objective(w - scale * step) > value:
            scale /= 2
        w = w - scale * step
        if value - objective(w) < 1e-9:
            break
    return w.tolist()


def _isotonic(p: np.ndarray, y: np.ndarray) -> list[float]:
    from scipy.optimize import isotonic_regression  # slow to import, and only fitting needs it

    # one negative at 0 and one positive at 1, so that no probability becomes 0 or 1
    x, row = np.unique(np.concatenate([[0.0, 1.0], p]), return_inverse=True)
    weight = np.bincount(row).astype(float)
    level = isotonic_regression(np.bincount(row, np.concatenate([[0.0, 1.0], y])) / weight, weights=weight).x
    step = np.concatenate([[True], np.diff(level) != 0, [True]])
    ends = step[:-1] | step[1:]  # of a constant stretch only both ends are stored
    return [*x[ends].tolist(), *level[ends].tolist()]


def fit_size_weights(proba: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(s + 1,) weights of the set sizes 0..s, so that the expected share of each size equals the observed one.

    P(set) is proportional to its probability under independence times the weight of its size; s is the largest size in
    y. Maximum likelihood by iterative scaling (Darroch and Ratcliff 1972); a size less probable than RAREST in a row
    counts as that probable.
    """
    observed = np.bincount(y.sum(1)) / len(y)
    independent = np.maximum(size_distribution(proba, len(observed) - 1), RAREST)
    weights = np.ones(len(observed))
    for _ in range(200):
        mass = independent * weights
        expected = (mass / np.maximum(mass.sum(1, keepdims=True), 1e-300)).mean(0)
        weights = weights * np.where(observed > 0, observed / np.maximum(expected, 1e-300), 0.0)
        if np.abs(expected - observed).max() < 1e-6:
            break
    return weights / weights.max()


def size_distribution(proba: np.ndarray, largest: int) -> np.ndarray:
    """(n, largest + 1): P(the row has s labels) under independence; larger sizes are left out."""
    sizes = np.eye(largest + 1, 1) * np.ones(len(proba))
    for p in proba.T:
        sizes = add_label(sizes, p)
    return np.ascontiguousarray(sizes.T)
