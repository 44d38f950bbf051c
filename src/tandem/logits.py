"""Probabilities, logits and the log loss of logits."""

import numpy as np

BOUND = 1e-6  # probabilities are kept this far from 0 and 1 before a logarithm is taken


def clip_proba(proba: np.ndarray | float, bound: float = BOUND) -> np.ndarray:
    """Probabilities in float64, at least `bound` away from 0 and 1."""
    return np.clip(np.asarray(proba, np.float64), bound, 1 - bound)


def logit(proba: np.ndarray | float, bound: float = BOUND) -> np.ndarray:
    """log(p / (1 - p)) in float64, with p kept `bound` away from 0 and 1."""
    p = clip_proba(proba, bound)
    return np.log(p) - np.log1p(-p)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-logits)) in float64."""
    from scipy.special import expit  # slow to import, and `make scores` needs no logits

    return expit(np.asarray(logits, np.float64))


def bce_from_logits(logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each cell in nats, in the precision of the logits; y 0/1.

    >>> bce_from_logits(np.array([0.0, 100.0]), np.array([0, 1])).round(3).tolist()
    [0.693, 0.0]
    """
    return np.logaddexp(0, logits) - y * logits


def smoothed_log_odds(y: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """Log-odds of each label's rate in y (n,) or (n, c): (positives + 0.5) / (n + 1), the mean under Jeffreys' prior;
    over the `known` cells alone, bool as y.

    >>> smoothed_log_odds(np.array([[0, 1], [0, 0]])).round(3).tolist()
    [-1.609, 0.0]
    """
    positives, n = (y.sum(0), len(y)) if known is None else ((y * known).sum(0), known.sum(0))
    rate = (positives + 0.5) / (n + 1)
    return np.log(rate / (1 - rate))
