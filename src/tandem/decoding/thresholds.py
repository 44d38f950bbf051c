"""Thresholds tuned on the competition's metric: all thresholds between two distinct probabilities are evaluated.

The score at every threshold, of one label or of all labels at once, costs one sort and then cumulative sums. A cell
of unknown label has the probability -1 (see `hide_unknown`): no threshold reaches it, and y is 0 there.
"""

from dataclasses import replace
from functools import cached_property

import numpy as np

from tandem.decoding.crowded_rows import CrowdedRows
from tandem.decoding.label_rule import BY_ROW, Rule, binarize, limit_sizes

PASSES = 20  # of `tune_ascent` over all labels, at most
MANY_CELLS = 4_000_000  # rows x labels: of more a part of the rows gives the global threshold
LONG_ASCENT = 50_000_000  # rows x labels x labels: from here on macro F1, whose steps cost rows x labels, has no ascent


def hide_unknown(
    proba: np.ndarray, y: np.ndarray, rule: Rule, known: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Rule]:
    """(probabilities, labels, rule) to tune on: with unknown cells without the rows that have no known one, and without
    limits of the sizes, which concern all labels of a row."""
    if known is None:
        return proba, y, rule
    rows = known.any(1)
    free = replace(rule, least=0, most=10**6)
    return np.where(known, proba, -1.0)[rows], np.where(known, y, 0)[rows].astype(np.uint8), free


def tune_global(proba: np.ndarray, y: np.ndarray, rule: Rule) -> float:
    """The best one threshold for all labels; exact up to MANY_CELLS, O(nc log nc)."""
    every = -(-y.size // MANY_CELLS)
    proba, y = proba[::every], y[::every]
    return _best_threshold(*_global_curve(proba, y, rule))[1]


def tune_per_class(proba: np.ndarray, y: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) thresholds, each the best for its own label's F-beta: together they maximise macro F-beta.

    Exact, one sort per label. Ignores the competition's metric and its least and most labels per row.
    """
    thresholds = []
    for p, true in zip(np.ascontiguousarray(proba.T), y.T, strict=True):
        order = np.argsort(-p)
        overlap = _from_zero(true[order].astype(np.int64))
        curve = rule.f_beta(overlap, overlap[-1], np.arange(len(p) + 1))
        thresholds.append(_best_threshold(p[order], curve)[1])
    return np.array(thresholds)


def tune_ascent(proba: np.ndarray, y: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) thresholds by coordinate ascent on the metric, one label at a time until nothing improves.

    Each step evaluates every threshold of the label within the least and most labels per row. Starts from the best
    global threshold, from 0.5 and from `tune_per_class`, so in sample it is never worse than any of them. Above
    MANY_CELLS it starts from the best of the three alone.
    """
    labels = SortedLabels(proba, y, rule)
    best_score, best = -1.0, np.full(labels.c, 0.5)
    starts = [np.broadcast_to(start, labels.c).astype(float) for start in (tune_global(proba, y, rule), 0.5)]
    starts.append(tune_per_class(proba, y, rule))
    long = rule.metric == "f1_macro" and y.size * labels.c >= LONG_ASCENT
    if long or y.size > MANY_CELLS:
        starts = [max(starts, key=lambda start: rule.score(y, binarize(proba, start, rule)))]
    if long:
        return starts[0]
    for start in starts:
        score, thresholds = _ascend(labels, start)
        if score > best_score + 1e-12:
            best_score, best = score, thresholds
    return best


def _ascend(labels: "SortedLabels", thresholds: np.ndarray) -> tuple[float, np.ndarray]:
    pred = labels.proba >= thresholds
    size, overlap = pred.sum(1), (pred & labels.y).sum(1)
    score = labels.rule.merit(labels.y, binarize(labels.proba, thresholds, labels.rule))
    since = 0  # steps without an improvement
    for step in range(PASSES * labels.c):
        j = step % labels.c
        value, threshold = labels.step(pred, overlap, size, j)
        since += 1
        if value > score + 1e-12:
            score, thresholds[j], since = value, threshold, 0
            column = labels.proba[:, j] >= threshold
            change = column.astype(np.int64) - pred[:, j]
            size += change
            overlap += change * labels.y[:, j]
            pred[:, j] = column
            if labels.rule.most < labels.c:
                labels.crowded.stale[change != 0] = True
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


def _best_threshold(descending: np.ndarray, curve: np.ndarray) -> tuple[float, float]:
    """(score, threshold between two probabilities) of the best; `curve` (n + 1,): scores with the m first predicted.

    Of equally good ones the middle; where every score is 0, as for a label that no row has, nothing is predicted.
    """
    possible = np.concatenate([[True], descending[1:] != descending[:-1], [True]])
    possible[1:] &= descending >= 0  # an unknown cell is never predicted
    curve = np.where(possible, curve, -np.inf)
    best = float(curve.max())
    winners = np.flatnonzero(curve >= best - 1e-12)
    m = int(winners[len(winners) // 2]) if best > 1e-12 else 0
    if m == 0:
        first = float(descending[0])
        return best, (1 + first) / 2 if first < 1 else float(np.nextafter(1.0, 2.0))
    below = max(float(descending[m]), 0.0) if m < len(descending) else 0.0
    return best, (float(descending[m - 1]) + below) / 2


class SortedLabels:
    """Probabilities and labels (n, c), each label's rows sorted once: a step costs a few passes over the rows."""

    def __init__(self, proba: np.ndarray, y: np.ndarray, rule: Rule) -> None:
        self.proba, self.y, self.rule = proba, y.astype(bool), rule
        self.n, self.c = proba.shape
        self.true, self.positives = self.y.sum(1), self.y.sum(0)
        columns = np.ascontiguousarray(proba.T)
        self.order = np.argsort(-columns, axis=1, kind="stable").astype(np.int32)  # (c, n)
        self.descending = np.take_along_axis(columns, self.order, 1)
        # a row without a predicted label gets its `least` most probable ones, for any thresholds
        self.first = np.argsort(-proba, axis=1, kind="stable")[:, : rule.least]
        self.first_overlap = np.take_along_axis(self.y, self.first, 1).sum(1)

    @cached_property
    def crowded(self) -> CrowdedRows:
        """The rows with more labels than the most allowed."""
        return CrowdedRows(self.proba, self.y, min(self.rule.most, self.c))

    def step(self, pred: np.ndarray, overlap: np.ndarray, size: np.ndarray, j: int) -> tuple[float, float]:
        """(score, threshold) of label j's best threshold, all others as in `pred` (n, c), before `limit_sizes`."""
        return _best_threshold(self.descending[j], self.curve(pred, overlap, size, j))

    def curve(self, pred: np.ndarray, overlap: np.ndarray, size: np.ndarray, j: int) -> np.ndarray:
        """(n + 1,) score with label j predicted for the m rows where it is most probable."""
        size = size - pred[:, j]
        overlap = overlap - (pred[:, j] & self.y[:, j])
        outside = self._bounded(pred, j, False, overlap, size)
        inside = self._bounded(pred, j, True, overlap + self.y[:, j], size + 1)
        order, rule = self.order[j], self.rule
        if rule.metric in BY_ROW:
            before = rule.row_value(outside[0], self.true, outside[1], self.c)
            gain = rule.row_value(inside[0], self.true, inside[1], self.c) - before
            return (before.sum() + _from_zero(gain[order])) / self.n
        if rule.metric == "f1_micro":
            overlap = outside[0].sum() + _from_zero((inside[0] - outside[0])[order])
            predicted = outside[1].sum() + _from_zero((inside[1] - outside[1])[order])
            return rule.f_beta(overlap, self.positives.sum(), predicted)
        return self._macro_curve(pred, j, outside[2], inside[2])

    def _bounded(
        self, pred: np.ndarray, j: int, member: bool, overlap: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(overlap, size, whether the size limits changed the row), (n,) each, with label j predicted or not."""
        changed = (size == 0) & (self.rule.least > 0)
        overlap = np.where(changed, self.first_overlap, overlap)
        size = np.where(changed, self.first.shape[1], size)
        crowded = np.flatnonzero(size > self.rule.most)
        if len(crowded):
            overlap[crowded] = self.crowded.overlap(pred, crowded, j, member)
            size[crowded], changed[crowded] = self.rule.most, True
        odd = np.flatnonzero(size < self.rule.least)
        if len(odd):
            rows = self._rows(odd, pred, j, member)
            overlap[odd], size[odd], changed[odd] = (rows & self.y[odd]).sum(1), rows.sum(1), True
        return overlap, size, changed

    def _macro_curve(self, pred: np.ndarray, j: int, changed_out: np.ndarray, changed_in: np.ndarray) -> np.ndarray:
        """Macro F1: in rows that the size limits change, adding label j also adds or removes other labels."""
        order, rank = self.order[j], np.empty(self.n, np.int64)
        rank[order] = np.arange(self.n)
        special = np.flatnonzero(changed_out | changed_in)
        special = special[np.argsort(rank[special])]
        base, enters = pred.copy(), np.ones(self.n, np.int64)
        base[:, j] = False
        base[special] = self._rows(special, pred, j, False)
        change = self._rows(special, pred, j, True).astype(np.int64) - base[special]  # 1, 0 or -1
        enters[special] = change[:, j]
        change[:, j] = 0
        overlap, predicted = (base & self.y).sum(0), base.sum(0)
        first = self.rule.f_beta(overlap, self.positives, predicted)

        def curve(label: int, rows: np.ndarray, sign: np.ndarray) -> np.ndarray:
            hits = overlap[label] + _from_zero(sign * self.y[rows, label])
            return self.rule.f_beta(hits, self.positives[label], predicted[label] + _from_zero(sign))

        total = curve(j, order, enters[order])
        total += first.sum() - first[j]
        for label in np.flatnonzero(change.any(0)).tolist():
            at = np.flatnonzero(change[:, label])
            steps = np.zeros(self.n + 1)
            steps[rank[special[at]] + 1] = np.diff(curve(label, special[at], change[at, label]))
            total += steps.cumsum()
        return total / self.c

    def _rows(self, rows: np.ndarray, pred: np.ndarray, j: int, member: bool) -> np.ndarray:
        """Predicted labels of some rows within the size limits, with label j predicted or not."""
        part = pred[rows]
        part[:, j] = member
        empty = np.flatnonzero(~part.any(1))
        if self.rule.least and len(empty):  # as `limit_sizes` does, without sorting
            filled = np.zeros((len(empty), self.c), bool)
            np.put_along_axis(filled, self.first[rows[empty]], True, axis=1)
            part[empty] = filled
        return limit_sizes(self.proba[rows], part, self.rule)


def _from_zero(steps: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], steps.cumsum()])


def _global_curve(proba: np.ndarray, y: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(descending probabilities of all n x c cells, score with the first m of them predicted)."""
    n, c = proba.shape
    order = np.argsort(-proba, axis=1, kind="stable")
    hit, p = np.take_along_axis(y, order, 1).astype(np.int64), np.take_along_axis(proba, order, 1)
    # labels of a row when k reach the threshold, and how many of them are true
    kept = np.clip(np.arange(c + 1), rule.least, min(rule.most, c))
    overlap = np.c_[np.zeros(n, np.int64), hit.cumsum(1)][:, kept]
    # lowering the threshold adds cell after cell, the most probable first
    flat = np.argsort(-p.ravel(), kind="stable")
    row, rank = np.divmod(flat, c)
    hits, sizes = (overlap[row, rank], overlap[row, rank + 1]), (kept[rank], kept[rank + 1])
    true = y.sum(1)
    if rule.metric in BY_ROW:
        gain = rule.row_value(hits[1], true[row], sizes[1], c) - rule.row_value(hits[0], true[row], sizes[0], c)
        start = rule.row_value(overlap[:, 0], true, np.full(n, kept[0]), c).sum()
        curve = (start + _from_zero(gain)) / n
    elif rule.metric == "f1_micro":
        all_hits = overlap[:, 0].sum() + _from_zero(hits[1] - hits[0])
        curve = rule.f_beta(all_hits, true.sum(), n * kept[0] + _from_zero(sizes[1] - sizes[0]))
    else:
        curve = _global_macro(order, hit, flat, rule)
    return p.ravel()[flat], curve


def _global_macro(order: np.ndarray, hit: np.ndarray, flat: np.ndarray, rule: Rule) -> np.ndarray:
    """(n c + 1,) macro F1 with the first m cells predicted."""
    n, c = order.shape
    always = order[:, : rule.least].ravel()
    overlap = np.bincount(always, hit[:, : rule.least].ravel(), c)
    predicted = np.bincount(always, minlength=c)
    positives = np.bincount(order.ravel(), hit.ravel(), c)
    first = rule.f_beta(overlap, positives, predicted)
    change, label, true, rank = np.zeros(n * c + 1), order.ravel()[flat], hit.ravel()[flat], flat % c
    counted = (rank >= rule.least) & (rank < rule.most)  # the others are always or never predicted
    for j in range(c):
        at = np.flatnonzero(counted & (label == j))
        sizes = predicted[j] + np.arange(1, len(at) + 1)
        value = rule.f_beta(overlap[j] + true[at].cumsum(), positives[j], sizes)
        change[at + 1] = np.diff(value, prepend=first[j])
    return (first.sum() + change.cumsum()) / c
