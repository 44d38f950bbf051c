"""The 95 % interval of a score."""

import numpy as np

from tandem.decoding.label_rule import Rule
from tandem.metrics import METRICS, Metric, paired_mean, students_t

PARTS = 50  # of the groups of rows, left out one at a time


def half_width(
    rule: Rule, y: np.ndarray, values: np.ndarray, group: np.ndarray | None = None, known: np.ndarray | None = None
) -> float:
    """Half the width of the interval of a cross-fitted score of `values` (n, c), what the metric scores; rows of one
    `group` (n,) count as one draw. Infinite where there is one group."""
    group = np.arange(len(y)) if group is None else group
    rows = rule.judge.per_row(y, values, rule.beta, rule.zero_division, known)
    if rows is not None:
        _, low, high = paired_mean(rows, group)
        return (high - low) / 2
    parts = min(PARTS, len(np.unique(group)))
    if parts < 2:
        return float("inf")
    scored = values if known is None else np.where(known, values, 0)
    return students_t(parts - 1) * jackknife(y, scored, rule.judge, rule.beta, group, rule.zero_division)


def jackknife(
    y: np.ndarray,
    values: np.ndarray,
    metric: str | Metric,
    beta: float,
    groups: np.ndarray | None = None,
    zero_division: float = 0.0,
) -> float:
    """Standard error of a pooled metric by the delete-a-group jackknife (Quenouille 1956); rows of one of `groups` (n,)
    are left out together."""
    group = np.arange(len(y)) if groups is None else np.unique(groups, return_inverse=True)[1]
    m = min(PARTS, int(group.max()) + 1)
    part = group % m
    judge = METRICS[metric] if isinstance(metric, str) else metric
    left = np.array([judge(y[part != k], values[part != k], beta, zero_division) for k in range(m)])
    return float(np.sqrt((m - 1) / m * ((left - left.mean()) ** 2).sum()))
