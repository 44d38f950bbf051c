"""From probabilities to label sets: per-class thresholds tuned on the competition's own metric.

Every cut-off between two distinct probabilities is evaluated exactly, by one sort and running sums, including what the
least/most rule does to a row that would become empty or overfull.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tandem.metrics import METRICS, _f_beta


@dataclass(frozen=True)
class Rule:
    """What is scored, and how many labels a row may have.

    metric  key of tandem.metrics.METRICS
    beta    of F-beta
    least   a row with fewer labels gets its most probable ones
    most    a row with more keeps its most probable ones
    """

    metric: str = "f1_samples"
    beta: float = 1.0
    least: int = 1
    most: int = 10**6

    def score(self, y: np.ndarray, pred: np.ndarray) -> float:
        return METRICS[self.metric](y, pred, self.beta)


def binarize(proba: np.ndarray, thresholds: np.ndarray | float, rule: Rule) -> np.ndarray:
    """(n, c) bool: labels whose probability reaches the threshold, then the least/most rule.

    >>> binarize(np.array([[0.1, 0.2], [0.9, 0.1]]), np.array([0.5, 0.5]), Rule()).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    return _bound(proba, proba >= np.asarray(thresholds, np.float64), rule)


def _bound(proba: np.ndarray, pred: np.ndarray, rule: Rule) -> np.ndarray:
    size = pred.sum(1)
    off = np.flatnonzero((size < rule.least) | (size > rule.most))
    if len(off):
        pred, p = pred.copy(), proba[off]
        # labels already in come first, then the most probable: rank < wanted are kept
        order = np.lexsort((-p, ~pred[off]), axis=1)
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(p.shape[1])[None, :], axis=1)
        pred[off] = rank < np.clip(size[off], rule.least, rule.most)[:, None]
    return pred


def tune_global(proba: np.ndarray, y: np.ndarray, rule: Rule) -> float:
    """The one threshold for all labels with the best score, over all distinct cut-offs; O(nc log nc)."""
    n, c = proba.shape
    order = np.argsort(-proba, axis=1, kind="stable")
    hit = np.take_along_axis(y, order, 1).astype(np.int64)
    p = np.take_along_axis(proba, order, 1)
    true = np.c_[np.zeros(n, np.int64), hit.cumsum(1)]
    kept = np.clip(
        np.arange(c + 1), rule.least, min(rule.most, c)
    )  # labels on a row when k reach the threshold
    tp, size = true[:, kept], kept[None, :] + np.zeros((n, 1), np.int64)
    flat = np.argsort(-p.ravel(), kind="stable")
    row, rank = np.divmod(flat, c)
    counted = (rank >= rule.least) & (rank < rule.most)  # the others are always in or always out
    always = np.arange(c) < rule.least
    base = _Counts(y.sum(0), np.bincount(order[:, always].ravel(), hit[:, always].ravel(), c),
                   np.bincount(order[:, always].ravel(), minlength=c))  # fmt: skip
    step = _Steps(
        outside=(tp[row, rank], size[row, rank]),
        inside=(tp[row, rank + 1], size[row, rank + 1]),
        label=order.ravel()[flat][counted],
        position=np.flatnonzero(counted),
        sign=np.ones(counted.sum(), np.int64),
        true=hit.ravel()[flat][counted],
    )
    start = float(_f_beta(tp[:, 0], y.sum(1), size[:, 0], rule.beta).sum())
    curve = _curve(step, y.sum(1)[row], base, start, n, rule)
    return _best_cut(p.ravel()[flat], curve)[1]


def tune_ascent(proba: np.ndarray, y: np.ndarray, rule: Rule, passes: int = 20) -> np.ndarray:
    """(c,) thresholds by coordinate ascent on the metric, one class at a time until nothing improves.

    Each step looks at every distinct cut-off of the class. Starts from the best global threshold and from 0.5, so
    in sample it is never worse than either.
    """
    c = proba.shape[1]
    order = [np.argsort(-proba[:, j], kind="stable") for j in range(c)]
    best_score, best = -1.0, np.full(c, 0.5)
    for start in (tune_global(proba, y, rule), 0.5):
        thresholds = np.full(c, start)
        pred = proba >= thresholds
        score = rule.score(y, _bound(proba, pred, rule))
        for _ in range(passes):
            before = score
            for j in range(c):
                curve = _class_curve(proba, y, pred, j, order[j], rule)
                value, cut = _best_cut(proba[order[j], j], curve)
                if value > score + 1e-12:
                    score, thresholds[j] = value, cut
                    pred[:, j] = proba[:, j] >= cut
            if score <= before + 1e-9:
                break
        if score > best_score:
            best_score, best = score, thresholds
    return best


def _class_curve(
    proba: np.ndarray, y: np.ndarray, pred: np.ndarray, j: int, order: np.ndarray, rule: Rule
) -> np.ndarray:
    """(n + 1,) score with label j on the m rows where it is most probable, all other labels as in `pred`."""
    n = len(order)
    without, with_j = pred.copy(), pred.copy()
    without[:, j], with_j[:, j] = False, True
    without, with_j = _bound(proba, without, rule), _bound(proba, with_j, rule)
    positives = y.astype(bool)
    outside = ((without & positives).sum(1), without.sum(1))
    inside = ((with_j & positives).sum(1), with_j.sum(1))
    rank = np.empty(n, np.int64)
    rank[order] = np.arange(n)
    row, label = np.nonzero(without != with_j)
    by_rank = np.argsort(rank[row], kind="stable")
    row, label = row[by_rank], label[by_rank]
    step = _Steps(
        outside=tuple(a[order] for a in outside),
        inside=tuple(a[order] for a in inside),
        label=label,
        position=rank[row],
        sign=np.where(with_j[row, label], 1, -1),
        true=y[row, label].astype(np.int64),
    )
    base = _Counts(y.sum(0), (without & positives).sum(0), without.sum(0))
    size = y.sum(1)
    start = float(_f_beta(outside[0], size, outside[1], rule.beta).sum())
    return _curve(step, size[order], base, start, n, rule)


@dataclass(frozen=True)
class _Counts:
    """Per label: true, true and predicted, predicted."""

    true: np.ndarray
    overlap: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class _Steps:
    """What lowering the cut-off past one more position does.

    outside, inside  (overlap, size) of the position's row before and after
    label, position, sign, true  the single cells that change, sorted by position: +1 enters, -1 leaves
    """

    outside: tuple[np.ndarray, np.ndarray]
    inside: tuple[np.ndarray, np.ndarray]
    label: np.ndarray
    position: np.ndarray
    sign: np.ndarray
    true: np.ndarray


def _curve(
    step: _Steps, row_true: np.ndarray, base: _Counts, start: float, rows: int, rule: Rule
) -> np.ndarray:
    """Score after each position, (positions + 1,); `start` is the sum over rows of F-beta before the first."""
    beta = rule.beta
    if rule.metric == "f1_samples":
        gain = _f_beta(step.inside[0], row_true, step.inside[1], beta)
        gain = gain - _f_beta(step.outside[0], row_true, step.outside[1], beta)
        return (start + np.append(0, gain.cumsum())) / rows
    if rule.metric == "f1_micro":
        overlap = base.overlap.sum() + np.append(0, (step.inside[0] - step.outside[0]).cumsum())
        predicted = base.predicted.sum() + np.append(0, (step.inside[1] - step.outside[1]).cumsum())
        return _f_beta(overlap, np.full(len(overlap), base.true.sum()), predicted, beta)
    by_label = np.argsort(step.label, kind="stable")  # keeps the order of positions inside a label
    label = step.label[by_label]
    overlap = base.overlap[label] + _running(label, (step.sign * step.true)[by_label])
    predicted = base.predicted[label] + _running(label, step.sign[by_label])
    value = _f_beta(overlap, base.true[label], predicted, beta)
    first = _f_beta(base.overlap, base.true, base.predicted, beta)
    previous = np.where(np.append(True, label[1:] != label[:-1]), first[label], np.append(0, value[:-1]))
    change = np.bincount(step.position[by_label] + 1, value - previous, len(row_true) + 1)
    return (first.sum() + change.cumsum()) / len(first)


def _running(group: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Running sum inside each run of equal `group`."""
    if not len(value):
        return value
    total = value.cumsum()
    new = np.append(True, group[1:] != group[:-1])
    return total - (total - value)[np.flatnonzero(new)[new.cumsum() - 1]]


def _best_cut(descending: np.ndarray, curve: np.ndarray) -> tuple[float, float]:
    """(score, threshold) of the best cut-off between distinct probabilities; of equals the middle one."""
    p = descending.astype(np.float64)
    allowed = np.r_[True, p[1:] != p[:-1], True]
    best = curve[allowed].max()
    winners = np.flatnonzero(allowed & (curve >= best - 1e-12))
    m = winners[len(winners) // 2]
    if m == 0:
        return float(best), float((1 + p[0]) / 2 if p[0] < 1 else np.nextafter(1.0, 2.0))
    below = p[m] if m < len(p) else 0.0
    return float(best), float((p[m - 1] + below) / 2)


Tuner = Callable[[np.ndarray, np.ndarray, Rule], np.ndarray | float]


def cross_fit(
    proba: np.ndarray, y: np.ndarray, fold: np.ndarray, rule: Rule, tune: Tuner = tune_ascent
) -> tuple[np.ndarray, np.ndarray]:
    """Tunes without fold k, decodes fold k: (n, c) predicted labels and (k, c) thresholds of each fold."""
    pred = np.zeros(proba.shape, bool)
    thresholds = []
    for k in np.unique(fold):
        held_out = fold == k
        thresholds.append(np.broadcast_to(tune(proba[~held_out], y[~held_out], rule), proba.shape[1:]))
        pred[held_out] = binarize(proba[held_out], thresholds[-1], rule)
    return pred, np.stack(thresholds)
