"""How well a score is known, from the rows it was measured on."""

import numpy as np

from tandem.metrics import METRICS, paired_mean
from tandem.report.data_model import Evidence, row_scores

PARTS = 50  # of the rows, left out in turn


def noise_of(evidence: Evidence) -> float:
    """Half the 95 % interval of the subject's cross-fitted score."""
    y, pred, rule = evidence.y, evidence.subject.pred, evidence.rule
    if rule.metric == "f1_samples":
        _, low, high = paired_mean(row_scores(y, pred, rule.beta))
        return (high - low) / 2
    return 1.96 * jackknife(y, pred, rule.metric, rule.beta)


def jackknife(y: np.ndarray, pred: np.ndarray, metric: str, beta: float) -> float:
    """Standard error of a pooled metric (Quenouille 1956), a part of the rows left out at a time."""
    m = min(PARTS, len(y))
    part = np.arange(len(y)) % m
    left = np.array([METRICS[metric](y[part != k], pred[part != k], beta) for k in range(m)])
    return float(np.sqrt((m - 1) / m * ((left - left.mean()) ** 2).sum()))
