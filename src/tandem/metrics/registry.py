"""All metrics by name: what each scores, which way is better, its function; and those of the user."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tandem.config.metric_names import METRIC_INFO, Needs
from tandem.metrics.f_scores import f1_macro, f1_micro, f1_per_row, f1_samples
from tandem.metrics.probability_scores import auc_macro, log_loss, log_loss_rows, mean_average_precision, ranking_rows
from tandem.metrics.set_scores import exact_rows, hamming_rows, jaccard_rows

Values = Callable[..., float]  # (y, label sets or probabilities, beta, zero_division, known) -> the score
Rows = Callable[..., np.ndarray]  # the same arguments -> (n,) values whose mean is the score


@dataclass(frozen=True, eq=False)
class Metric:
    """A score of label sets (n, c) 0/1 or of probabilities (n, c), called with them."""

    name: str
    needs: Needs
    greater_is_better: bool
    score: Values
    rows: Rows | None = None  # None: it is no mean over rows

    def __call__(
        self,
        y: np.ndarray,
        values: np.ndarray,
        beta: float = 1.0,
        zero_division: float = 0.0,
        known: np.ndarray | None = None,
    ) -> float:
        return self.score(y, values, beta, zero_division, known)

    def merit(self, score: float) -> float:
        """More is better: the score, or 1 minus a loss."""
        return score if self.greater_is_better else 1 - score

    def per_row(
        self, y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None
    ) -> np.ndarray | None:
        """(n,) values whose mean over the rows with a known cell is the score; None where it is no such mean."""
        if self.rows is None or (self.name == "log_loss" and known is not None):  # a mean over labels first
            return None
        return self.rows(y, values, beta, zero_division, known)


def _mean_of(rows: Rows) -> Values:
    def score(y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None) -> float:
        found = rows(y, values, beta, zero_division, known)
        return float((found if known is None else found[known.any(1)]).mean())

    return score


def _of_probabilities(score: Callable[[np.ndarray, np.ndarray, np.ndarray | None], float]) -> Values:
    return lambda y, values, beta, zero_division, known: score(y, values, known)


def _ranking(
    y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None
) -> np.ndarray:
    return ranking_rows(y, values, known)


def _losses(
    y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None
) -> np.ndarray:
    return log_loss_rows(y, values, known=known)


_FUNCTIONS: dict[str, tuple[Values, Rows | None]] = {
    "f1_samples": (f1_samples, f1_per_row),
    "f1_micro": (f1_micro, None),
    "f1_macro": (f1_macro, None),
    "jaccard_samples": (_mean_of(jaccard_rows), jaccard_rows),
    "accuracy_exact": (_mean_of(exact_rows), exact_rows),
    "hamming": (_mean_of(hamming_rows), hamming_rows),
    "auc_macro": (_of_probabilities(auc_macro), None),
    "map_macro": (_of_probabilities(mean_average_precision), None),
    "map_samples": (_mean_of(_ranking), _ranking),
    "log_loss": (_of_probabilities(log_loss), _losses),
}
METRICS: dict[str, Metric] = {
    name: Metric(name, METRIC_INFO[name].needs, METRIC_INFO[name].greater_is_better, *functions)
    for name, functions in _FUNCTIONS.items()
}
