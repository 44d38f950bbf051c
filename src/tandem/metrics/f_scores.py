"""F-beta of label sets; y and pred are (n, c) 0/1.

`zero_division`, 0 or 1, is the F-beta of a row or label with neither label nor prediction, as in scikit-learn.
`known` (n, c) bool says which cells count; None: all. A row or label without a known cell is left out of every mean.
"""

import numpy as np


def f_beta(
    overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray, beta: float, zero_division: float = 0.0
) -> np.ndarray:
    """(1 + b^2) TP / (b^2 |true| + |predicted|), and `zero_division` where there is neither label nor prediction."""
    size = beta**2 * true + predicted
    return np.where(size == 0, zero_division, (1 + beta**2) * overlap / np.where(size == 0, 1, size))


def f1_samples(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> float:
    """F1 per row: the mean over rows of F-beta."""
    rows = f1_per_row(y, pred, beta, zero_division, known)
    return float((rows if known is None else rows[known.any(1)]).mean())


def f1_micro(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> float:
    """Micro F1: F-beta of all cells together."""
    flat = None if known is None else known.reshape(1, -1)
    return f1_samples(y.reshape(1, -1), pred.reshape(1, -1), beta, zero_division, flat)


def f1_macro(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> float:
    """Macro F1: the mean over labels of F-beta."""
    labels = f1_per_label(y, pred, beta, zero_division, known)
    return float((labels if known is None else labels[known.any(0)]).mean())


def f1_per_row(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) F-beta of each row."""
    y, pred = counted(y, known), counted(pred, known)
    return f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta, zero_division)


def f1_per_label(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> np.ndarray:
    """(c,) F-beta of each label over all rows."""
    return f1_per_row(y.T, pred.T, beta, zero_division, None if known is None else known.T)


def counted(cells: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    """(n, c) bool: False where a cell is not known."""
    return cells.astype(bool) if known is None else cells.astype(bool) & known
