"""Metrics of multi-label predictions: y is (n, c) 0/1; some score label sets (n, c) 0/1, others probabilities (n, c).

`zero_division`, 0 or 1, is the F-beta of a row or label with neither label nor prediction, as in scikit-learn.
"""

from tandem.metrics.f_scores import f1_macro, f1_micro, f1_per_label, f1_per_row, f1_samples, f_beta
from tandem.metrics.intervals import BOOTSTRAP, bootstrap_gains, label_gains, paired_interval, paired_mean, students_t
from tandem.metrics.own_metric import load_own_metric
from tandem.metrics.probability_scores import (
    auc_macro,
    log_loss,
    log_loss_rows,
    mean_average_precision,
    one_class,
    ranking_rows,
)
from tandem.metrics.rank_correlation import rank_correlations
from tandem.metrics.registry import METRICS, Metric

__all__ = [
    "BOOTSTRAP",
    "METRICS",
    "Metric",
    "auc_macro",
    "bootstrap_gains",
    "f1_macro",
    "f1_micro",
    "f1_per_label",
    "f1_per_row",
    "f1_samples",
    "f_beta",
    "label_gains",
    "load_own_metric",
    "log_loss",
    "log_loss_rows",
    "mean_average_precision",
    "one_class",
    "paired_interval",
    "paired_mean",
    "rank_correlations",
    "ranking_rows",
    "students_t",
]
