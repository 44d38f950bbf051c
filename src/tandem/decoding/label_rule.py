"""The competition's metric, its least and most labels per row, and the label sets that thresholds give."""

from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Competition
from tandem.metrics import METRICS


@dataclass(frozen=True)
class Rule:
    """The metric, and how many labels a row may have."""

    metric: str = "f1_samples"  # a key of METRICS
    beta: float = 1.0  # of its F-beta
    least: int = 1  # a row with fewer labels gets its most probable ones
    most: int = 10**6  # a row with more keeps its most probable ones

    @classmethod
    def of(cls, competition: Competition) -> "Rule":
        """The competition's own."""
        return cls(competition.metric, competition.beta, competition.least, competition.most)

    def score(self, y: np.ndarray, pred: np.ndarray) -> float:
        return METRICS[self.metric](y, pred, self.beta)


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
