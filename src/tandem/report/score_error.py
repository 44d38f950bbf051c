"""The sampling error of a score, from the rows it was measured on."""

import numpy as np

from tandem.metrics import METRICS, paired_mean
from tandem.report.data_model import FocusExperiment, ReportData, row_scores

PARTS = 50  # of the rows, left out one at a time


def score_error(data: ReportData, focus: FocusExperiment) -> float:
    """Half the width of the 95 % interval of the cross-fitted score."""
    y, pred, rule = data.y, focus.pred, data.rule
    if rule.metric == "f1_samples":
        _, low, high = paired_mean(row_scores(y, pred, rule.beta))
        return (high - low) / 2
    return 1.96 * jackknife(y, pred, rule.metric, rule.beta)


def jackknife(y: np.ndarray, pred: np.ndarray, metric: str, beta: float) -> float:
    """Standard error of a pooled metric by the delete-a-group jackknife (Quenouille 1956)."""
    m = min(PARTS, len(y))
    part = np.arange(len(y)) % m
    left = np.array([METRICS[metric](y[part != k], pred[part != k], beta) for k in range(m)])
    return float(np.sqrt((m - 1) / m * ((left - left.mean()) ** 2).sum()))
