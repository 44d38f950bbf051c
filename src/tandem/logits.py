"""Probabilities and logits."""

import numpy as np


def logit(proba: np.ndarray, bound: float = 1e-6) -> np.ndarray:
    """log(p / (1 - p)) in float64, with p kept `bound` away from 0 and 1.

    >>> float(logit(np.array(0.5)))
    0.0
    """
    p = np.clip(np.asarray(proba, np.float64), bound, 1 - bound)
    return np.log(p) - np.log1p(-p)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(logits, np.float64)))
