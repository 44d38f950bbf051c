"""What predictions are worth; every function takes pooled rows and returns a float."""

from collections.abc import Callable

import numpy as np

BOOTSTRAP = 400  # samples


def f_beta(overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray, beta: float) -> np.ndarray:
    """(1 + b^2) TP / (b^2 |true| + |predicted|), and 1 where there is neither label nor prediction."""
    size = beta**2 * true + predicted
    return np.where(size == 0, 1.0, (1 + beta**2) * overlap / np.where(size == 0, 1, size))


def f1_samples(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """Mean over rows of F-beta; a row with neither label nor prediction scores 1."""
    y, pred = y.astype(bool), pred.astype(bool)
    return float(f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta).mean())


def f1_micro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """F-beta of all cells of the table together."""
    y, pred = y.astype(bool), pred.astype(bool)
    return float(f_beta((y & pred).sum(), y.sum(), pred.sum(), beta))


def f1_macro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> float:
    """Mean over labels of F-beta; a label neither present nor predicted scores 1."""
    return float(f1_per_label(y, pred, beta).mean())


def f1_per_label(y: np.ndarray, pred: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """(c,) F-beta of each label over all rows."""
    y, pred = y.astype(bool), pred.astype(bool)
    return f_beta((y & pred).sum(0), y.sum(0), pred.sum(0), beta)


def paired_interval(
    metric: str, y: np.ndarray, simple: np.ndarray, other: np.ndarray, beta: float = 1.0, seed: int = 0
) -> tuple[float, float, float]:
    """(gain of `other` over `simple`, lower, upper): 95 % interval, both predicted on the same rows.

    For `f1_samples` from the rows' differences (Student); for micro and macro from a Poisson bootstrap of the rows.
    """
    y, simple, other = (a.astype(bool) for a in (y, simple, other))
    if metric == "f1_samples":
        gain = f_beta((y & other).sum(1), y.sum(1), other.sum(1), beta)
        gain = gain - f_beta((y & simple).sum(1), y.sum(1), simple.sum(1), beta)
        return paired_mean(gain)
    rng = np.random.default_rng(seed)
    cells = [a.astype(np.float32) for a in (y, simple, y & simple, other, y & other)]

    def resampled() -> float:
        weight = rng.poisson(1.0, len(y)).astype(np.float32)
        true, *sums = (weight @ a for a in cells)
        if metric == "f1_micro":
            true, *sums = (s.sum() for s in (true, *sums))
        return float(
            f_beta(sums[3], true, sums[2], beta).mean() - f_beta(sums[1], true, sums[0], beta).mean()
        )

    low, high = np.quantile([resampled() for _ in range(BOOTSTRAP)], [0.025, 0.975])
    gain = METRICS[metric](y, other, beta) - METRICS[metric](y, simple, beta)
    return float(gain), float(low), float(high)


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


def log_loss(y: np.ndarray, proba: np.ndarray) -> float:
    """Mean over all cells of the binary cross-entropy in nats."""
    return float(log_loss_rows(y, proba).mean())


def log_loss_rows(y: np.ndarray, proba: np.ndarray, bound: float = 1e-6) -> np.ndarray:
    """(n,) mean over a row's labels of the binary cross-entropy, probabilities kept `bound` away from 0 and 1."""
    p = np.clip(proba.astype(np.float64), bound, 1 - bound)
    return -np.where(y.astype(bool), np.log(p), np.log1p(-p)).mean(1)


def paired_mean(difference: np.ndarray) -> tuple[float, float, float]:
    """(mean of the rows' differences (n,), lower, upper): 95 % interval."""
    mean = float(difference.mean())
    half = (
        1.96 * float(difference.std(ddof=1)) / len(difference) ** 0.5 if len(difference) > 1 else float("inf")
    )
    return mean, mean - half, mean + half
