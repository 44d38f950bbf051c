"""Pseudo-labels for unlabelled rows."""

import numpy as np


def confidence(proba: np.ndarray) -> np.ndarray:
    """1 - entropy of each probability in bits: 0 at one half, 1 at 0 and 1.

    >>> confidence(np.array([0.0, 0.5, 1.0, 0.9])).round(2).tolist()
    [1.0, 0.0, 1.0, 0.53]
    """
    p = np.clip(proba, 1e-9, 1 - 1e-9)
    return 1 + p * np.log2(p) + (1 - p) * np.log2(1 - p)
