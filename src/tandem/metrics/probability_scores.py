"""Log loss, ROC AUC and average precision of probabilities (n, c); `known` (n, c) bool: cells that count, None: all."""

import numpy as np

from tandem.logits import BOUND, clip_proba
from tandem.metrics.f_scores import counted


def log_loss(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> float:
    """Mean over labels of the mean binary cross-entropy in nats; without unknown cells the mean of all cells."""
    if known is None:
        return float(log_loss_rows(y, proba).mean())
    there = known.any(0)
    return float((np.where(known, cross_entropy(y, proba), 0).sum(0)[there] / known.sum(0)[there]).mean())


def log_loss_rows(
    y: np.ndarray, proba: np.ndarray, bound: float = BOUND, known: np.ndarray | None = None
) -> np.ndarray:
    """(n,) mean binary cross-entropy of each row's labels, probabilities kept `bound` away from 0 and 1; with `known`
    its sum over the mean number of known cells of a row."""
    losses = cross_entropy(y, proba, bound)
    return losses.mean(1) if known is None else np.where(known, losses, 0).sum(1) / max(known.sum(1).mean(), 1e-9)


def cross_entropy(y: np.ndarray, proba: np.ndarray, bound: float = BOUND) -> np.ndarray:
    """(n, c) of each cell in nats."""
    p = clip_proba(proba, bound)
    return -np.where(y.astype(bool), np.log(p), np.log1p(-p))


def mean_average_precision(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> float:
    """mAP: mean average precision of the labels that occur; NaN where none does."""
    from sklearn.metrics import average_precision_score  # slow to import, and `make scores` computes none

    there = counted(y, known).any(0)
    if not there.any():
        return float("nan")
    if known is None:
        return float(average_precision_score(y[:, there], proba[:, there]))
    of_each = (average_precision_score(y[known[:, j], j], proba[known[:, j], j]) for j in np.flatnonzero(there))
    return float(np.mean(list(of_each)))


def auc_macro(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> float:
    """Mean ROC AUC of the labels that some rows have and some lack; NaN where there is none."""
    auc = RankedLabels(y, proba, known).auc(np.ones(len(y)))
    return float(np.nanmean(auc)) if not np.isnan(auc).all() else float("nan")


def one_class(y: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(c,) bool: labels that all known rows have, or none: they have no ROC AUC."""
    positives, rows = counted(y, known).sum(0), len(y) if known is None else known.sum(0)
    return (positives == 0) | (positives == rows)


def ranking_rows(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(n,) label ranking average precision: over the true labels of a row, the mean share of true ones among those at
    least as probable; 1 for a row that has none of its known labels, or all."""
    y = counted(y, known)
    score = proba.astype(float) if known is None else np.where(known, proba, -np.inf)
    order = np.argsort(-score, axis=1, kind="stable")
    ranked, true = np.take_along_axis(score, order, 1), np.take_along_axis(y, order, 1)
    ends = np.column_stack([ranked[:, 1:] != ranked[:, :-1], np.ones(len(y), bool)])
    c = y.shape[1]
    last = np.minimum.accumulate(np.where(ends, np.arange(c), c)[:, ::-1], axis=1)[:, ::-1]  # of equal probabilities
    share = np.take_along_axis(true.cumsum(1), last, 1) / (last + 1)
    positives, cells = true.sum(1), c if known is None else known.sum(1)
    mean = (share * true).sum(1) / np.maximum(positives, 1)
    return np.where((positives == 0) | (positives == cells), 1.0, mean)


class RankedLabels:
    """Labels whose probabilities are ranked once: ROC AUC and average precision under any weights of the rows."""

    def __init__(self, y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> None:
        self.true = counted(y, known).T.astype(float)
        self.false = (~y.astype(bool) if known is None else ~y.astype(bool) & known).T.astype(float)
        self.level = [np.unique(p, return_inverse=True)[1] for p in proba.T]  # 0 is the lowest probability

    def auc(self, weight: np.ndarray) -> np.ndarray:
        """(c,) ROC AUC, ties counted half; NaN where the rows of positive weight have one class."""
        return np.array([_auc(*self._levels(j, weight)) for j in range(len(self.level))])

    def average_precision(self, weight: np.ndarray) -> np.ndarray:
        """(c,) average precision; NaN where no row of positive weight has the label."""
        return np.array([_average_precision(*self._levels(j, weight)) for j in range(len(self.level))])

    def _levels(self, j: int, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights of the rows with and without label j at each probability, rising."""
        level = self.level[j]
        return np.bincount(level, weight * self.true[j]), np.bincount(level, weight * self.false[j])


def _auc(true: np.ndarray, false: np.ndarray) -> float:
    pairs = true.sum() * false.sum()
    return float((true * (false.cumsum() - false / 2)).sum() / pairs) if pairs else float("nan")


def _average_precision(true: np.ndarray, false: np.ndarray) -> float:
    found, rows = true[::-1].cumsum(), (true + false)[::-1].cumsum()
    if not found[-1]:
        return float("nan")
    return float((true[::-1] * found / np.where(rows == 0, 1, rows)).sum() / found[-1])
