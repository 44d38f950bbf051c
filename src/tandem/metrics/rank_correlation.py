"""Spearman's rank correlation, a column at a time."""

import numpy as np
from scipy.stats import rankdata


def rank_correlations(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(c,) of the columns of two (n, c); NaN where one of them is constant.

    >>> rank_correlations(np.array([[1.0, 0.0], [2.0, 0.0], [9.0, 0.0]]), np.array([[0.1, 1], [0.2, 2], [0.3, 3]]))
    array([ 1., nan])
    """
    out = np.full(a.shape[1], np.nan)
    for j, columns in enumerate(zip(a.T, b.T, strict=True)):
        ranks = rankdata(columns, axis=1)
        if (np.ptp(ranks, axis=1) > 0).all():
            out[j] = np.corrcoef(ranks)[0, 1]
    return out
