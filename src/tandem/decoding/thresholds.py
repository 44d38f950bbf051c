"""Thresholds tuned on the competition's metric: all thresholds between two distinct probabilities are evaluated."""

import numpy as np

from tandem.decoding.label_rule import Rule, binarize
from tandem.decoding.threshold_search import SortedLabels, best_threshold, global_curve, is_threshold
from tandem.metrics import f_beta


def tune_global(proba: np.ndarray, y: np.ndarray, rule: Rule) -> float:
    """The best one threshold for all labels; exact, O(nc log nc)."""
    descending, curve = global_curve(proba, y, rule)
    return best_threshold(descending, is_threshold(descending), curve)[1]


def tune_per_class(proba: np.ndarray, y: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) thresholds, each the best for its own label's F-beta: together they maximise macro F-beta.

    Exact, one sort a label. Ignores the competition's metric and its least and most labels a row.
    """
    n, c = proba.shape
    thresholds = np.empty(c)
    sizes = np.arange(n + 1)
    for j in range(c):
        column = np.ascontiguousarray(proba[:, j])
        order = np.argsort(-column)
        descending = column[order]
        overlap = np.concatenate([[0], y[order, j].cumsum(dtype=np.int64)])
        curve = f_beta(overlap, overlap[-1], sizes, rule.beta)
        thresholds[j] = best_threshold(descending, is_threshold(descending), curve)[1]
    return thresholds


def tune_ascent(proba: np.ndarray, y: np.ndarray, rule: Rule, passes: int = 20) -> np.ndarray:
    """(c,) thresholds by coordinate ascent on the metric, one label at a time until nothing improves.

    Each step evaluates every threshold of the label with the least and most labels a row applied. Starts from the best
    global threshold, from 0.5 and from `tune_per_class`, so in sample it is never worse than any of them.
    """
    labels = SortedLabels(proba, y, rule)
    best_score, best = -1.0, np.full(labels.c, 0.5)
    for start in (tune_global(proba, y, rule), 0.5, tune_per_class(proba, y, rule)):
        score, thresholds = _ascend(labels, np.broadcast_to(start, labels.c).astype(float), passes)
        if score > best_score + 1e-12:
            best_score, best = score, thresholds
    return best


def _ascend(labels: SortedLabels, thresholds: np.ndarray, passes: int) -> tuple[float, np.ndarray]:
    pred = labels.proba >= thresholds
    size, overlap = pred.sum(1), (pred & labels.y).sum(1)
    score = labels.rule.score(labels.y, binarize(labels.proba, thresholds, labels.rule))
    since = 0  # steps without an improvement
    for step in range(passes * labels.c):
        j = step % labels.c
        value, threshold = labels.step(pred, overlap, size, j)
        since += 1
        if value > score + 1e-12:
            score, thresholds[j], since = value, threshold, 0
            column = labels.proba[:, j] >= threshold
            size += column.astype(np.int64) - pred[:, j]
            overlap += (column & labels.y[:, j]).astype(np.int64) - (pred[:, j] & labels.y[:, j])
            pred[:, j] = column
        if since == labels.c:
            break
    return score, thresholds


def shrink(own: np.ndarray, common: float, positives: np.ndarray, strength: float) -> np.ndarray:
    """(c,) thresholds moved towards the common one: a label with `strength` positives half way, rarer ones further.

    >>> shrink(np.array([0.25, 0.25]), 0.5, np.array([10, 30]), 10.0).tolist()
    [0.375, 0.3125]
    """
    if np.isinf(strength):
        return np.full(len(own), common)
    return common + (own - common) * positives / np.maximum(positives + strength, 1)
