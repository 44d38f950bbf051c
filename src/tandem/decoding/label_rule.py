"""The competition's metric, its least and most labels per row, and the label sets that thresholds give."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tandem.config.competition import Competition
from tandem.config.metric_names import METRIC_INFO, metric_title
from tandem.metrics import METRICS, Metric, f_beta, load_own_metric, paired_interval

BY_ROW = ("f1_samples", "jaccard_samples", "accuracy_exact", "hamming")  # a row's value follows from three counts


@dataclass(frozen=True)
class Rule:
    """The metric, and how many labels a row may have."""

    metric: str = "f1_samples"  # a key of METRICS, or FILE.py:FUNCTION
    beta: float = 1.0  # of its F-beta
    least: int = 1  # a row with fewer labels gets its most probable ones
    most: int = 10**6  # a row with more keeps its most probable ones
    zero_division: int = 0  # F-beta of a row or label with neither label nor prediction, 0 or 1
    decoder: str = "auto"  # a key of DECODERS, or auto: the best by cross-fitted score
    own: Metric | None = field(default=None, compare=False)  # the metric FILE.py:FUNCTION

    @classmethod
    def of(cls, competition: Competition, folder: Path | None = None) -> "Rule":
        """The competition's own; a metric FILE.py:FUNCTION is read from `folder`, and without one can score nothing."""
        c, own = competition, None
        if c.metric not in METRIC_INFO and folder is not None:
            own = load_own_metric(c.metric, folder, c.metric_needs)
        return cls(c.metric, c.beta, c.least, c.most, c.zero_division, c.decoder, own)

    @property
    def judge(self) -> Metric:
        """Raises ValueError for a metric of the user's that was not read from its file."""
        if self.own is None and self.metric not in METRICS:
            raise ValueError(f"metric {self.metric!r}: its file is needed to score with it")
        return self.own or METRICS[self.metric]

    @property
    def title(self) -> str:
        """The metric's name in texts."""
        return metric_title(self.metric, self.beta)

    @property
    def sets(self) -> "Rule":
        """The rule that label sets are scored by: this one, or macro F1 where the metric scores probabilities."""
        judge = self.own or METRICS.get(self.metric)
        return self if judge is None or judge.needs == "labels" else replace(self, metric="f1_macro", own=None)

    @property
    def tuned(self) -> "Rule":
        """The rule that thresholds are tuned for: `sets`, or F1 per row where that is a metric of the user's."""
        sets = self.sets
        return sets if sets.metric in METRICS else replace(sets, metric="f1_samples", own=None)

    def settings(self) -> dict[str, Any]:
        """What thresholds.json holds of it."""
        return {name: getattr(self, name) for name in ("metric", "beta", "least", "most", "zero_division")}

    def score(self, y: np.ndarray, values: np.ndarray, known: np.ndarray | None = None) -> float:
        """The metric of label sets, or of probabilities where it scores these."""
        return self.judge(y, values, self.beta, self.zero_division, known)

    def merit(self, y: np.ndarray, values: np.ndarray, known: np.ndarray | None = None) -> float:
        """More is better: the score, or 1 minus a loss."""
        return self.judge.merit(self.score(y, values, known))

    def row_value(self, overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray, labels: int) -> np.ndarray:
        """What a row adds to the merit, for the metrics BY_ROW, from its numbers of labels."""
        if self.metric == "hamming":
            return 1 - (true + predicted - 2 * overlap) / labels
        if self.metric == "accuracy_exact":
            return ((overlap == true) & (overlap == predicted)).astype(float)
        if self.metric == "jaccard_samples":
            union = true + predicted - overlap
            return np.where(union == 0, self.zero_division, overlap / np.maximum(union, 1))
        return self.f_beta(overlap, true, predicted)

    def f_beta(self, overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """F-beta from numbers of labels: true positives, true and predicted."""
        return f_beta(overlap, true, predicted, self.beta, self.zero_division)

    def gain(
        self,
        y: np.ndarray,
        baseline: np.ndarray,
        other: np.ndarray,
        groups: np.ndarray | None = None,
        known: np.ndarray | None = None,
    ) -> tuple[float, float, float]:
        """(gain of `other` over `baseline`, lower, upper), see `paired_interval`."""
        return paired_interval(self.judge, y, baseline, other, self.beta, groups, 0, self.zero_division, known)


def binarize(proba: np.ndarray, thresholds: np.ndarray | float, rule: Rule) -> np.ndarray:
    """(n, c) bool: labels whose probability reaches the threshold, then the least/most rule.

    >>> binarize(np.array([[0.1, 0.2], [0.9, 0.1]]), np.array([0.5, 0.5]), Rule()).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    return limit_sizes(proba, proba >= np.asarray(thresholds, np.float64), rule)


def limit_sizes(proba: np.ndarray, pred: np.ndarray, rule: Rule) -> np.ndarray:
    """(n, c) bool: `pred` with `least` to `most` labels per row, by probability; `pred` itself is not changed."""
    size = pred.sum(1)
    off = np.flatnonzero((size < rule.least) | (size > rule.most))
    if len(off):
        pred = pred.copy()
        # predicted labels come first, then the most probable of the others
        order = np.lexsort((-proba[off], ~pred[off]), axis=1)
        pred[off] = np.argsort(order, axis=1) < np.clip(size[off], rule.least, rule.most)[:, None]
    return pred
