"""What predictions are worth; every function takes pooled rows and returns a float."""

from collections.abc import Callable

import numpy as np


def _f_beta(overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray, beta: float) -> np.ndarray:
    """(1 + b^2) TP / (b^2 |true| + |predicted|), and 1 where there is neither label nor prediction."""
    size = beta**2 * true + predicted
    return np.where(size == 0, 1.0, (1 + beta**2) * overlap / np.where(size == 0, 1, size))


def f1_samples(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """Mean over rows of F-beta; a row with neither label nor prediction scores 1."""
    y, pred = y.astype(bool), pred.astype(bool)
    return float(_f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta).mean())


def f1_micro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """F-beta of all cells of the table together."""
    y, pred = y.astype(bool), pred.astype(bool)
    return float(_f_beta((y & pred).sum(), y.sum(), pred.sum(), beta))


def f1_macro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """Mean over labels of F-beta; a label neither present nor predicted scores 1."""
    return float(f1_per_label(y, pred, beta).mean())


def f1_per_label(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """(c,) F-beta of each label over all rows."""
    y, pred = y.astype(bool), pred.astype(bool)
    return _f_beta((y & pred).sum(0), y.sum(0), pred.sum(0), beta)


METRICS: dict[str, Callable[..., float]] = {
    "f1_samples": f1_samples,
    "f1_micro": f1_micro,
    "f1_macro": f1_macro,
}


def mean_average_precision(y: np.ndarray, proba: np.ndarray) -> float:
    """Mean over labels that occur of average precision: sum of (recall gained) x precision at each distinct cut-off."""
    return float(
        np.mean([_average_precision(y[:, j], proba[:, j]) for j in range(y.shape[1]) if y[:, j].any()])
    )


def _average_precision(y: np.ndarray, proba: np.ndarray) -> float:
    order = np.argsort(-proba, kind="stable")
    hit = y[order].astype(np.float64)
    last = np.append(np.diff(proba[order]) != 0, True)  # ties share one cut-off
    true = hit.cumsum()[last]
    precision = true / (np.flatnonzero(last) + 1)
    return float((np.diff(true, prepend=0) * precision).sum() / true[-1])


def log_loss(y: np.ndarray, proba: np.ndarray, bound: float = 1e-6) -> float:
    """Mean over all cells of the binary cross-entropy in nats, probabilities kept `bound` away from 0 and 1."""
    p = np.clip(proba.astype(np.float64), bound, 1 - bound)
    return float(-np.where(y.astype(bool), np.log(p), np.log1p(-p)).mean())
