"""The gain of one network over another, both trained with several seeds, and its interval."""

from collections.abc import Sequence

import numpy as np

from tandem.decoding import Rule
from tandem.metrics import bootstrap_gains, paired_mean, students_t


def gain_over_seeds(
    rule: Rule, y: np.ndarray, full: Sequence[np.ndarray], other: Sequence[np.ndarray], groups: np.ndarray | None = None
) -> tuple[float, float, float]:
    """(gain of `other` over `full`, lower, upper): paired 95 % interval; label sets (n, c), or
    probabilities where the metric scores these, of each of S seeds.

    With d_s the difference of the scores of seed s: gain = mean of d_s, variance = R + Var(d_s) / S, where R is the
    variance over rows of the mean difference; half-width by Student's t with the degrees of freedom of Welch and
    Satterthwaite, (R + V)^2 / (R^2 / (n - 1) + V^2 / (S - 1)) with V = Var(d_s) / S and n groups. One seed: the
    interval over rows alone.
    """
    if len(full) == 1:
        return rule.gain(y, full[0], other[0], groups)
    by_seed = np.array([rule.merit(y, b) - rule.merit(y, a) for a, b in zip(full, other, strict=True)])
    gain, n = float(by_seed.mean()), len(y) if groups is None else len(np.unique(groups))
    if n < 2:
        return gain, float("-inf"), float("inf")
    rows, seeds = _row_variance(rule, y, full, other, groups, n), float(by_seed.var(ddof=1)) / len(by_seed)
    if rows + seeds == 0:
        return gain, gain, gain
    freedom = (rows + seeds) ** 2 / (rows**2 / (n - 1) + seeds**2 / (len(by_seed) - 1))
    half = students_t(freedom) * (rows + seeds) ** 0.5
    return gain, gain - half, gain + half


def _row_variance(
    rule: Rule,
    y: np.ndarray,
    full: Sequence[np.ndarray],
    other: Sequence[np.ndarray],
    groups: np.ndarray | None,
    n: int,
) -> float:
    """Variance, over n groups of rows drawn anew, of the difference's mean over seeds."""
    judge, settings = rule.judge, (rule.beta, rule.zero_division, None)
    of_rows = [[judge.per_row(y, values, *settings) for values in both] for both in (full, other)]
    if judge.rows is not None:
        before, after = (np.mean([rows for rows in both if rows is not None], 0) for both in of_rows)
        _, low, high = paired_mean(after - before, groups)
        return ((high - low) / 2 / students_t(n - 1)) ** 2
    pairs = zip(full, other, strict=True)
    gains = [bootstrap_gains(judge, y, a, b, rule.beta, groups, 0, rule.zero_division) for a, b in pairs]
    return float(np.mean(gains, axis=0).var(ddof=1))
