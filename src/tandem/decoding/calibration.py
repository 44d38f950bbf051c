"""Calibration: one curve a label, and weights of the set sizes.

Kinds: `none`; `platt`, a + b logit(p) (Platt 1999); `beta`, a + b log p - c log(1 - p) (Kull et al. 2017);
`isotonic`, a rising step function (Zadrozny and Elkan 2002).
"""

from dataclasses import dataclass, field

import numpy as np

from tandem.logits import bce_from_logits, clip_proba, logit, sigmoid

KINDS = ("none", "platt", "beta", "isotonic")
PRIOR = 1.0  # L2 penalty on the distance from the identity: curves of rare labels stay close to it


@dataclass(frozen=True)
class Calibration:
    """A calibration curve for each label.

    kind    one of KINDS
    curves  a list of numbers a label: coefficients, or for isotonic the knots' x, then as many y
    """

    kind: str = "none"
    curves: list[list[float]] = field(default_factory=list)

    def __call__(self, proba: np.ndarray) -> np.ndarray:
        """(n, c) calibrated probabilities."""
        if self.kind == "none":
            return clip_proba(proba)
        if self.kind == "isotonic":
            columns = []
            for j, curve in enumerate(self.curves):
                x, y = np.split(np.array(curve), 2)
                columns.append(np.interp(proba[:, j], x, y))
            return clip_proba(np.column_stack(columns))
        terms = _terms(self.kind, proba)
        logits = np.einsum("ncd,cd->nc", terms, np.array(self.curves))
        return clip_proba(sigmoid(logits))


def calibrate(kind: str, proba: np.ndarray, y: np.ndarray) -> Calibration:
    """Fits the curves of one kind on probabilities (n, c) and labels (n, c)."""
    if kind == "none":
        return Calibration()
    if kind == "isotonic":
        return Calibration(kind, [_isotonic(proba[:, j], y[:, j]) for j in range(y.shape[1])])
    terms = _terms(kind, proba)
    identity = np.array([0.0, 1.0] if kind == "platt" else [0.0, 1.0, 1.0])
    return Calibration(kind, [_logistic(terms[:, j], y[:, j], identity) for j in range(y.shape[1])])


def _terms(kind: str, proba: np.ndarray) -> np.ndarray:
    """(n, c, d): the terms that the logit of the curve is linear in."""
    p = clip_proba(proba)
    one = np.ones_like(p)
    return np.stack([one, logit(p)] if kind == "platt" else [one, np.log(p), -np.log1p(-p)], axis=2)


def _logistic(x: np.ndarray, y: np.ndarray, identity: np.ndarray, steps: int = 30) -> list[float]:
    """Penalised coefficients by Newton's method, starting from the identity."""
    w = identity.copy()
    penalty = PRIOR * np.eye(len(w))

    def objective(w: np.ndarray) -> float:
        z = x @ w
        return float(bce_from_logits(z, y).sum() + 0.5 * PRIOR * ((w - identity) ** 2).sum())

    value = objective(w)
    for _ in range(steps):
        p = sigmoid(x @ w)
        gradient = x.T @ (p - y) + PRIOR * (w - identity)
        hessian = (x * (p * (1 - p))[:, None]).T @ x + penalty
        step, scale = np.linalg.solve(hessian, gradient), 1.0
        while scale > 1e-6 and objective(w - scale * step) > value:
            scale /= 2
        new = w - scale * step
        done, value, w = value - objective(new) < 1e-9, objective(new), new
        if done:
            break
    return w.tolist()


def _isotonic(p: np.ndarray, y: np.ndarray) -> list[float]:
    from scipy.optimize import isotonic_regression  # slow to import, and only fitting needs it

    # one negative at 0 and one positive at 1, so that no probability becomes 0 or 1
    x, row = np.unique(np.concatenate([[0.0, 1.0], p]), return_inverse=True)
    weight = np.bincount(row).astype(float)
    share = np.bincount(row, np.concatenate([[0.0, 1.0], y])) / weight
    level = isotonic_regression(share, weights=weight).x
    step = np.diff(level) != 0
    # of a constant stretch only both ends are stored
    ends = np.concatenate([[True], step]) | np.concatenate([step, [True]])
    return [*x[ends].tolist(), *level[ends].tolist()]


def fit_size_weights(proba: np.ndarray, y: np.ndarray, steps: int = 200) -> np.ndarray:
    """(s + 1,) weights of the set sizes 0..s, so that the expected share of each size equals the observed one.

    P(set) is proportional to its probability under independence times the weight of its size; s is the largest size in
    y. Maximum likelihood by iterative scaling (Darroch and Ratcliff 1972).
    """
    sizes = y.sum(1)
    largest = int(sizes.max())
    observed = (np.bincount(sizes, minlength=largest + 1) + 0.0) / len(sizes)
    independent = size_distribution(proba, largest)
    weights = np.ones(largest + 1)
    for _ in range(steps):
        mass = independent * weights
        expected = (mass / np.maximum(mass.sum(1, keepdims=True), 1e-300)).mean(0)
        ratio = np.where(observed > 0, observed / np.maximum(expected, 1e-300), 0.0)
        weights = weights * ratio
        if np.abs(expected - observed).max() < 1e-6:
            break
    return weights / weights.max()


def size_distribution(proba: np.ndarray, largest: int) -> np.ndarray:
    """(n, largest + 1): P(the row has s labels) under independence; larger sizes are left out."""
    sizes = np.zeros((len(proba), largest + 1))
    sizes[:, 0] = 1.0
    for p in proba.T:
        added = sizes * (1 - p)[:, None]
        added[:, 1:] += sizes[:, :-1] * p[:, None]
        sizes = added
    return sizes
