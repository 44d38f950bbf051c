"""The score at every threshold of one label, or of all labels at once: one sort, then cumulative sums."""

from dataclasses import dataclass

import numpy as np

from tandem.decoding.label_rule import Rule, limit_sizes
from tandem.metrics import f_beta


def is_threshold(descending: np.ndarray) -> np.ndarray:
    """(n + 1,) bool: whether a threshold can keep exactly the m most probable, m = 0..n."""
    return np.concatenate([[True], descending[1:] != descending[:-1], [True]])


def best_threshold(descending: np.ndarray, allowed: np.ndarray, curve: np.ndarray) -> tuple[float, float]:
    """(score, threshold) of the best threshold; of equal ones the middle one.

    curve  (n + 1,) score with the m most probable predicted
    """
    curve = np.where(allowed, curve, -np.inf)
    best = curve.max()
    winners = np.flatnonzero(curve >= best - 1e-12)
    return float(best), threshold_at(descending, int(winners[len(winners) // 2]))


def threshold_at(descending: np.ndarray, m: int) -> float:
    """The threshold that keeps the m most probable: the middle between two probabilities."""
    if m == 0:
        first = float(descending[0])
        return (1 + first) / 2 if first < 1 else float(np.nextafter(1.0, 2.0))
    below = float(descending[m]) if m < len(descending) else 0.0
    return (float(descending[m - 1]) + below) / 2


class SortedLabels:
    """Probabilities and labels with each label's rows sorted once, so that a step costs a few passes over the rows.

    proba (n, c), y (n, c) 0/1.
    """

    def __init__(self, proba: np.ndarray, y: np.ndarray, rule: Rule) -> None:
        self.proba, self.y, self.rule = proba, y.astype(bool), rule
        self.n, self.c = proba.shape
        self.true = self.y.sum(1)
        self.positives = self.y.sum(0)
        columns = np.ascontiguousarray(proba.T)
        self.order = np.argsort(-columns, axis=1, kind="stable").astype(np.int32)  # (c, n)
        self.descending = np.take_along_axis(columns, self.order, 1)
        self.allowed = [is_threshold(p) for p in self.descending]
        # a row without a predicted label gets its `least` most probable ones, for any thresholds
        self.first = np.argsort(-proba, axis=1, kind="stable")[:, : rule.least]
        self.first_overlap = np.take_along_axis(self.y, self.first, 1).sum(1)

    def step(self, pred: np.ndarray, overlap: np.ndarray, size: np.ndarray, j: int) -> tuple[float, float]:
        """(score, threshold) of label j's best threshold with all other labels as in `pred`.

        pred (n, c) before `limit_sizes`; its `overlap` with the true labels and its `size`, (n,).
        """
        return best_threshold(self.descending[j], self.allowed[j], self.curve(pred, overlap, size, j))

    def curve(self, pred: np.ndarray, overlap: np.ndarray, size: np.ndarray, j: int) -> np.ndarray:
        """(n + 1,) score with label j predicted for the m rows where it is most probable."""
        size = size - pred[:, j]
        overlap = overlap - (pred[:, j] & self.y[:, j])
        outside = self._bounded(pred, j, False, overlap, size)
        inside = self._bounded(pred, j, True, overlap + self.y[:, j], size + 1)
        order, rule = self.order[j], self.rule
        if rule.metric == "f1_samples":
            before = f_beta(outside[0], self.true, outside[1], rule.beta)
            gain = f_beta(inside[0], self.true, inside[1], rule.beta) - before
            return (before.sum() + _from_zero(gain[order])) / self.n
        if rule.metric == "f1_micro":
            overlap = outside[0].sum() + _from_zero((inside[0] - outside[0])[order])
            predicted = outside[1].sum() + _from_zero((inside[1] - outside[1])[order])
            return f_beta(overlap, self.positives.sum(), predicted, rule.beta)
        return self._macro_curve(pred, j, outside[2], inside[2])

    def _bounded(
        self, pred: np.ndarray, j: int, member: bool, overlap: np.ndarray, size: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(overlap, size, whether the size limits changed the row), (n,) each, with label j predicted or not."""
        empty = size == 0
        changed = empty if self.rule.least else np.zeros(self.n, bool)
        if self.rule.least:
            overlap = np.where(empty, self.first_overlap, overlap)
            size = np.where(empty, self.first.shape[1], size)
        odd = np.flatnonzero((size < self.rule.least) | (size > self.rule.most))
        if len(odd):
            rows = self._rows(odd, pred, j, member)
            overlap, size, changed = overlap.copy(), size.copy(), changed.copy()
            overlap[odd], size[odd], changed[odd] = (rows & self.y[odd]).sum(1), rows.sum(1), True
        return overlap, size, changed

    def _macro_curve(self, pred: np.ndarray, j: int, changed_out: np.ndarray, changed_in: np.ndarray) -> np.ndarray:
        """Macro F1: in rows that the size limits change, adding label j also adds or removes other labels."""
        special = np.flatnonzero(changed_out | changed_in)
        base = pred.copy()
        base[:, j] = False
        swaps: list[tuple[int, np.ndarray, np.ndarray]] = []  # label, rows, +1 or -1
        enters = np.ones(self.n, np.int64)
        if len(special):
            without, with_j = (self._rows(special, pred, j, member) for member in (False, True))
            base[special] = without
            change = with_j.astype(np.int8) - without
            enters[special] = change[:, j]
            change[:, j] = 0
            for label in np.flatnonzero(change.any(0)).tolist():
                at = np.flatnonzero(change[:, label])
                swaps.append((label, special[at], change[at, label].astype(np.int64)))
        beta, order = self.rule.beta, self.order[j]
        overlap, predicted = (base & self.y).sum(0), base.sum(0)
        first = f_beta(overlap, self.positives, predicted, beta)
        entering = enters[order]
        total = f_beta(
            overlap[j] + _from_zero(entering * self.y[order, j]),
            self.positives[j],
            predicted[j] + _from_zero(entering),
            beta,
        )
        total += first.sum() - first[j]
        if swaps:
            rank = np.empty(self.n, np.int64)
            rank[order] = np.arange(self.n)
            for label, rows, sign in swaps:
                by_rank = np.argsort(rank[rows])
                rows, sign = rows[by_rank], sign[by_rank]
                value = f_beta(
                    overlap[label] + (sign * self.y[rows, label]).cumsum(),
                    self.positives[label],
                    predicted[label] + sign.cumsum(),
                    beta,
                )
                change = np.zeros(self.n + 1)
                change[rank[rows] + 1] = np.diff(value, prepend=first[label])
                total += change.cumsum()
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


@dataclass(frozen=True)
class _Steps:
    """Lowering one threshold for all labels adds cell after cell, the most probable first.

    row, label, true  of the cell
    outside, inside   (overlap, size) of its row before and after
    """

    row: np.ndarray
    label: np.ndarray
    true: np.ndarray
    outside: tuple[np.ndarray, np.ndarray]
    inside: tuple[np.ndarray, np.ndarray]


def global_curve(proba: np.ndarray, y: np.ndarray, rule: Rule) -> tuple[np.ndarray, np.ndarray]:
    """(descending probabilities of all n x c cells, score with the first m of them predicted)."""
    n, c = proba.shape
    order = np.argsort(-proba, axis=1, kind="stable")
    hit = np.take_along_axis(y, order, 1).astype(np.int64)
    p = np.take_along_axis(proba, order, 1)
    true = np.c_[np.zeros(n, np.int64), hit.cumsum(1)]
    # labels of a row when k reach the threshold
    kept = np.clip(np.arange(c + 1), rule.least, min(rule.most, c))
    overlap = true[:, kept]
    flat = np.argsort(-p.ravel(), kind="stable")
    row, rank = np.divmod(flat, c)
    step = _Steps(
        row=row,
        label=order.ravel()[flat],
        true=hit.ravel()[flat],
        outside=(overlap[row, rank], kept[rank]),
        inside=(overlap[row, rank + 1], kept[rank + 1]),
    )
    size, beta = y.sum(1), rule.beta
    if rule.metric == "f1_samples":
        gain = f_beta(step.inside[0], size[row], step.inside[1], beta)
        gain -= f_beta(step.outside[0], size[row], step.outside[1], beta)
        start = f_beta(overlap[:, 0], size, np.full(n, kept[0]), beta).sum()
        return p.ravel()[flat], (start + _from_zero(gain)) / n
    if rule.metric == "f1_micro":
        hits = overlap[:, 0].sum() + _from_zero(step.inside[0] - step.outside[0])
        predicted = n * kept[0] + _from_zero(step.inside[1] - step.outside[1])
        return p.ravel()[flat], f_beta(hits, size.sum(), predicted, beta)
    return p.ravel()[flat], _global_macro(step, order, hit, rank, rule)


def _global_macro(step: _Steps, order: np.ndarray, hit: np.ndarray, rank: np.ndarray, rule: Rule) -> np.ndarray:
    """(n c + 1,) macro F1 with the first m cells predicted."""
    n, c = order.shape
    always = order[:, : rule.least].ravel()
    overlap = np.bincount(always, hit[:, : rule.least].ravel(), c)
    predicted = np.bincount(always, minlength=c)
    positives = np.bincount(order.ravel(), hit.ravel(), c)
    first = f_beta(overlap, positives, predicted, rule.beta)
    change = np.zeros(n * c + 1)
    counted = (rank >= rule.least) & (rank < rule.most)  # the others are always or never predicted
    for label in range(c):
        at = np.flatnonzero(counted & (step.label == label))
        value = f_beta(
            overlap[label] + step.true[at].cumsum(),
            positives[label],
            predicted[label] + np.arange(1, len(at) + 1),
            rule.beta,
        )
        change[at + 1] = np.diff(value, prepend=first[label])
    return (first.sum() + change.cumsum()) / c
