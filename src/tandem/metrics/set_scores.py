"""Hamming loss, exact match and the Jaccard index of label sets, row by row; see `f_scores` for the arguments.

Each metric is the mean of its rows.
"""

import numpy as np

from tandem.metrics.f_scores import counted


def hamming_rows(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) wrong cells of each row over the mean number of cells that count: the mean is the share of wrong cells."""
    wrong = (counted(y, known) != counted(pred, known)).sum(1)
    return wrong / (y.shape[1] if known is None else known[known.any(1)].sum(1).mean())


def exact_rows(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) 1 where the set is exactly right, else 0."""
    return (counted(y, known) == counted(pred, known)).all(1).astype(float)


def jaccard_rows(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) TP / |true or predicted|, and `zero_division` for a row with neither."""
    y, pred = counted(y, known), counted(pred, known)
    union = (y | pred).sum(1)
    return np.where(union == 0, zero_division, (y & pred).sum(1) / np.maximum(union, 1))
