"""The competition's metric, its least and most labels per row, and the label sets that thresholds give."""

from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Competition
from tandem.metrics import METRICS, f_beta, paired_interval


@dataclass(frozen=True)
class Rule:
    """The metric, and how many labels a row may have."""

    metric: str = "f1_samples"  # a key of METRICS
    beta: float = 1.0  # of its F-beta
    least: int = 1  # a row with fewer labels gets its most probable ones
    most: int = 10**6  # a row with more keeps its most probable ones
    zero_division: int = 0  # F-beta of a row or label with neither label nor prediction, 0 or 1

    @classmethod
    def of(cls, competition: Competition) -> "Rule":
        """The competition's own."""
        c = competition
        return cls(c.metric, c.beta, c.least, c.most, c.zero_division)

    def score(self, y: np.ndarray, pred: np.ndarray) -> float:
        return METRICS[self.metric](y, pred, self.beta, self.zero_division)

    def f_beta(self, overlap: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """F-beta from numbers of labels: true positives, true and predicted."""
        return f_beta(overlap, true, predicted, self.beta, self.zero_division)

    def gain(
        self, y: np.ndarray, baseline: np.ndarray, other: np.ndarray, groups: np.ndarray | None = None
    ) -> tuple[float, float, float]:
        """(gain of `other` over `baseline`, lower, upper), see `paired_interval`."""
        zero = self.zero_division
        return paired_interval(self.metric, y, baseline, other, self.beta, groups, zero_division=zero)


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
