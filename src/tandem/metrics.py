"""Metrics of multi-label predictions: y and pred are (n, c) 0/1, proba is (n, c).

`zero_division`, 0 or 1, is the F-beta of a row or label with neither label nor prediction, as in scikit-learn.
"""

from collections.abc import Callable

import numpy as np

from tandem.logits import BOUND, clip_proba

BOOTSTRAP = 400  # samples


def f_beta(
    overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray, beta: float, zero_division: float = 0.0
) -> np.ndarray:
    """(1 + b^2) TP / (b^2 |true| + |predicted|), and `zero_division` where there is neither label nor prediction."""
    size = beta**2 * true + predicted
    return np.where(size == 0, zero_division, (1 + beta**2) * overlap / np.where(size == 0, 1, size))


def f1_samples(
    y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0, known: np.ndarray | None = None
) -> float:
    """F1 per row: the mean over rows of F-beta, of `known` (n, c) cells alone."""
    if known is not None:
        y, pred = y.astype(bool) & known, pred.astype(bool) & known
    return float(f1_per_row(y, pred, beta, zero_division).mean())


def f1_micro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0) -> float:
    """Micro F1: F-beta of all cells together."""
    return f1_samples(y.reshape(1, -1), pred.reshape(1, -1), beta, zero_division)


def f1_macro(y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0) -> float:
    """Macro F1: the mean over labels of F-beta."""
    return float(f1_per_label(y, pred, beta, zero_division).mean())


def f1_per_row(y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0) -> np.ndarray:
    """(n,) F-beta of each row."""
    y, pred = y.astype(bool), pred.astype(bool)
    return f_beta((y & pred).sum(1), y.sum(1), pred.sum(1), beta, zero_division)


def f1_per_label(y: np.ndarray, pred: np.ndarray, beta: float = 1.0, zero_division: float = 0.0) -> np.ndarray:
    """(c,) F-beta of each label over all rows."""
    return f1_per_row(y.T, pred.T, beta, zero_division)


def paired_interval(
    metric: str,
    y: np.ndarray,
    baseline: np.ndarray,
    other: np.ndarray,
    beta: float = 1.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    zero_division: float = 0.0,
) -> tuple[float, float, float]:
    """(gain of `other` over `baseline`, lower, upper): paired 95 % interval of label sets predicted for the same rows.

    For F1 per row see `paired_mean`; for micro F1 and macro F1 from a Poisson bootstrap, wider for few groups as
    Student's t is; where all draws agree, their spread says nothing, as in `paired_mean`. Rows of one group (n,), such
    as near-duplicates, count as one draw; None: every row is its own group.
    """
    if metric == "f1_samples":
        rows = [f1_per_row(y, pred, beta, zero_division) for pred in (baseline, other)]
        return paired_mean(rows[1] - rows[0], groups)
    before, after = (METRICS[metric](y, pred, beta, zero_division) for pred in (baseline, other))
    gain, n_groups = after - before, len(y) if groups is None else len(np.unique(groups))
    if n_groups < 2:
        return gain, float("-inf"), float("inf")
    gains = bootstrap_gains(metric, y, baseline, other, beta, groups, seed, zero_division)
    low, high = np.quantile(gains, [0.025, 0.975]).tolist()
    wider = students_t(n_groups - 1) / students_t(np.inf)
    least = _unseen(gain, n_groups) if high - low <= 1e-6 * abs(gain) else 0.0
    return gain, gain - max(wider * (gain - low), least), gain + max(wider * (high - gain), least)


def bootstrap_gains(
    metric: str,
    y: np.ndarray,
    baseline: np.ndarray,
    other: np.ndarray,
    beta: float = 1.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    zero_division: float = 0.0,
) -> np.ndarray:
    """(BOOTSTRAP,) gains in micro F1 or macro F1 of `other` over `baseline`, groups of rows drawn with replacement.

    The same seed draws the same groups, whatever the predictions.
    """
    y, baseline, other = (a.astype(bool) for a in (y, baseline, other))
    group = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    n_groups = int(group.max()) + 1
    rng = np.random.default_rng(seed)
    cells = [a.astype(np.float32) for a in (y, baseline, y & baseline, other, y & other)]

    def resampled() -> float:
        weight = rng.poisson(1.0, n_groups).astype(np.float32)[group]
        sums = ((weight @ a).sum() if metric == "f1_micro" else weight @ a for a in cells)
        true, predicted, overlap, other_predicted, other_overlap = sums
        before = f_beta(overlap, true, predicted, beta, zero_division).mean()
        return float(f_beta(other_overlap, true, other_predicted, beta, zero_division).mean() - before)

    return np.array([resampled() for _ in range(BOOTSTRAP)])


def mean_average_precision(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> float:
    """mAP: mean average precision of the labels that occur, each over rows where it is known; NaN where none does."""
    from sklearn.metrics import average_precision_score  # slow to import, and `make scores` computes none

    if known is not None:
        columns = [(y[rows, j, None], proba[rows, j, None]) for j, rows in enumerate(known.T)]
        each = [mean_average_precision(*column) for column in columns if column[0].any()]
        return float(np.mean(each)) if each else float("nan")
    there = y.any(0)
    return float(average_precision_score(y[:, there], proba[:, there])) if there.any() else float("nan")


def log_loss(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> float:
    """Mean binary cross-entropy of all known cells in nats."""
    return float(log_loss_rows(y, proba, known=known).mean())


def log_loss_rows(
    y: np.ndarray, proba: np.ndarray, bound: float = BOUND, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) mean binary cross-entropy of each row's labels, probabilities kept `bound` away from 0 and 1; with `known`
    its sum over the mean number of known cells of a row."""
    p = clip_proba(proba, bound)
    losses = -np.where(y.astype(bool), np.log(p), np.log1p(-p))
    return losses.mean(1) if known is None else np.where(known, losses, 0).sum(1) / max(known.sum(1).mean(), 1e-9)


def paired_mean(difference: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float, float]:
    """(mean of the rows' differences (n,), lower, upper): 95 % interval by Student's t.

    Differences are summed by group (n,), such as near-duplicates, because only groups are independent (the
    cluster-robust standard error, Liang and Zeger 1986); None: every row is its own group. Where all groups differ by
    the same amount, their spread says nothing: then the interval allows for the largest share of opposite differences
    that may be unseen with 2.5 % probability, so that fewer than six of them exclude no zero, as in a sign test.
    """
    n, mean = len(difference), float(difference.mean())
    group = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums, sizes = np.bincount(group, difference), np.bincount(group)
    if (g := len(sums)) < 2:
        return mean, float("-inf"), float("inf")
    if np.ptp(sums / sizes) <= 1e-12 * abs(mean):
        half = _unseen(mean, g)
    else:
        deviation = float(np.sqrt(g / (g - 1) * ((sums - mean * sizes) ** 2).sum())) / n
        half = students_t(g - 1) * deviation
    return mean, mean - half, mean + half


def _unseen(gain: float, groups: int) -> float:
    """How much the largest share of opposite gains takes off that `groups` equal ones miss with 2.5 % probability."""
    return 2 * abs(gain) * (1 - 0.025 ** (1 / groups))


def students_t(freedom: float) -> float:
    """The 97.5 % quantile of Student's t.

    >>> round(students_t(9), 3)
    2.262
    """
    from scipy.special import stdtrit  # slow to import, and `make scores` needs no interval

    return float(stdtrit(freedom, 0.975))


METRICS: dict[str, Callable[..., float]] = {"f1_samples": f1_samples, "f1_micro": f1_micro, "f1_macro": f1_macro}
