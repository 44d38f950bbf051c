"""Paired 95 % intervals of the gain in a metric of one prediction over another for the same rows."""

from collections.abc import Callable, Sequence

import numpy as np

from tandem.metrics.f_scores import counted, f_beta
from tandem.metrics.probability_scores import RankedLabels, cross_entropy
from tandem.metrics.registry import METRICS, Metric

BOOTSTRAP = 400  # samples
CELLS = 4e8  # rows x labels x samples, at most, of a metric that ranks every label's rows
DRAWS = 50  # at a time, of all labels
F_OF_SUMS = ("f1_micro", "f1_macro")
RERUNS = 100  # samples of a metric of the user's
MANY_GROUPS, BLOCKS = 100_000, 10_000  # of more groups, whole blocks of them are drawn: their sums are added up once


def paired_interval(
    metric: str | Metric,
    y: np.ndarray,
    baseline: np.ndarray,
    other: np.ndarray,
    beta: float = 1.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    zero_division: float = 0.0,
    known: np.ndarray | None = None,
) -> tuple[float, float, float]:
    """(gain of `other` over `baseline`, lower, upper): paired 95 % interval of two predictions for the same rows.

    Of a loss the gain is how much lower it is. For means over rows see `paired_mean`; for other metrics from a Poisson
    bootstrap, wider for few groups as Student's t is; where all draws agree, their spread says nothing, as in
    `paired_mean`. Rows of one group (n,), such as near-duplicates, count as one draw; None: every row is its own group.
    """
    judge = METRICS[metric] if isinstance(metric, str) else metric
    rows = [judge.per_row(y, values, beta, zero_division, known) for values in (baseline, other)]
    if rows[0] is not None and rows[1] is not None:
        difference = rows[1] - rows[0] if judge.greater_is_better else rows[0] - rows[1]
        if known is not None:
            there = known.any(1)
            difference, groups = difference[there], None if groups is None else groups[there]
        return paired_mean(difference, groups)
    before, after = (judge.merit(judge(y, values, beta, zero_division, known)) for values in (baseline, other))
    gain, n_groups = after - before, len(y) if groups is None else len(np.unique(groups))
    if n_groups < 2:
        return gain, float("-inf"), float("inf")
    if np.array_equal(baseline, other):
        return 0.0, 0.0, 0.0
    gains = bootstrap_gains(judge, y, baseline, other, beta, groups, seed, zero_division, known)
    return _interval_of_draws(gain, gains, n_groups)


def _interval_of_draws(gain: float, gains: np.ndarray, n_groups: int) -> tuple[float, float, float]:
    """(gain, lower, upper) from the gains of bootstrap draws."""
    low, high = np.quantile(gains, [0.025, 0.975]).tolist()
    wider = students_t(n_groups - 1) / students_t(np.inf)
    least = _unseen(gain, n_groups) if high - low <= 1e-6 * abs(gain) else 0.0
    return gain, gain - max(wider * (gain - low), least), gain + max(wider * (high - gain), least)


def label_gains(
    y: np.ndarray,
    baseline: np.ndarray,
    others: Sequence[np.ndarray],
    beta: float = 1.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    zero_division: float = 0.0,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """(others, c, 3): for each label the gain in its F of each of `others` over `baseline`, lower, upper.

    The same intervals as `paired_interval` gives for macro F of that one label; all labels share the draws.
    """
    group = _in_blocks(_numbered(groups, len(y)))
    rng, n_groups, true = np.random.default_rng(seed), int(group.max()) + 1, counted(y, known)
    order = np.argsort(group, kind="stable")
    first = np.flatnonzero(np.diff(group[order], prepend=-1))
    preds = [counted(pred, known) for pred in (baseline, *others)]
    sums = [[np.add.reduceat(a[order].astype(np.float32), first) for a in (true & pred, true, pred)] for pred in preds]

    def f_of_each(weights: np.ndarray) -> np.ndarray:
        """(1 + others, draws, c) at the groups' weights (draws, n_groups)."""
        return np.array(
            [f_beta(weights @ hit, weights @ own, weights @ given, beta, zero_division) for hit, own, given in sums]
        )

    f = f_of_each(np.ones((1, n_groups), np.float32))[:, 0]
    drawn = []
    for _ in range(0, BOOTSTRAP, DRAWS):
        weights = np.stack([rng.poisson(1.0, n_groups) for _ in range(DRAWS)]).astype(np.float32)
        each = f_of_each(weights)
        drawn.append(each[1:] - each[:1])
    draws, found = np.concatenate(drawn, axis=1), np.zeros((len(others), y.shape[1], 3))
    for i, j in np.ndindex(found.shape[:2]):
        gain = float(f[i + 1, j] - f[0, j])
        if n_groups < 2:
            found[i, j] = gain, -np.inf, np.inf
        elif (preds[i + 1][:, j] != preds[0][:, j]).any():
            found[i, j] = _interval_of_draws(gain, draws[i, :, j], n_groups)
    return found


def bootstrap_gains(
    metric: str | Metric,
    y: np.ndarray,
    baseline: np.ndarray,
    other: np.ndarray,
    beta: float = 1.0,
    groups: np.ndarray | None = None,
    seed: int = 0,
    zero_division: float = 0.0,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """Gains (at most BOOTSTRAP) in a metric of `other` over `baseline`, groups of rows drawn with replacement.

    The same seed draws the same groups, whatever the predictions; a draw without a score is left out.
    """
    judge = METRICS[metric] if isinstance(metric, str) else metric
    group = _in_blocks(_numbered(groups, len(y)))
    rng, n_groups = np.random.default_rng(seed), int(group.max()) + 1
    summed = judge.name in F_OF_SUMS and len(y) > MANY_GROUPS
    before, after = (
        _weighted_f(judge.name, y, values, beta, zero_division, known, group)
        if summed
        else _weighted(judge, y, values, beta, zero_division, known)
        for values in (baseline, other)
    )
    gains = np.zeros(_samples(judge, y))
    for i in range(len(gains)):
        weight = rng.poisson(1.0, n_groups).astype(np.float32)
        weight = weight if summed else weight[group]
        gains[i] = after(weight) - before(weight)
    gains = gains[np.isfinite(gains)]
    if not len(gains):
        raise ValueError(f"{judge.name}: no sample of the rows has a score")
    return gains if judge.greater_is_better else -gains


def _numbered(groups: np.ndarray | None, n: int) -> np.ndarray:
    """(n,) the number of each row's group, from 0; None: every row is its own group."""
    return np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]


def _in_blocks(group: np.ndarray) -> np.ndarray:
    """Of MANY_GROUPS numbers of groups BLOCKS numbers of blocks, drawn as wholes: as good where blocks are many."""
    return group % BLOCKS if group.max() >= MANY_GROUPS else group


def _samples(judge: Metric, y: np.ndarray) -> int:
    if judge.name.startswith("f1_"):
        return BOOTSTRAP
    return int(np.clip(CELLS / y.size, 50, BOOTSTRAP)) if judge.name in METRICS else RERUNS


def _weighted(
    judge: Metric, y: np.ndarray, values: np.ndarray, beta: float, zero_division: float, known: np.ndarray | None
) -> Callable[[np.ndarray], float]:
    """The score as a function of the rows' weights (n,); NaN where it has none."""
    if judge.name in F_OF_SUMS:
        return _weighted_f(judge.name, y, values, beta, zero_division, known)
    if judge.name in ("auc_macro", "map_macro"):
        ranked = RankedLabels(y, values, known)
        of_each = ranked.auc if judge.name == "auc_macro" else ranked.average_precision

        def mean(weight: np.ndarray) -> float:
            found = of_each(weight)
            return float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")

        return mean
    if judge.name == "log_loss" and known is not None:
        losses, cells = np.where(known, cross_entropy(y, values), 0), known.astype(float)
        return lambda weight: _ratio_mean(weight @ losses, weight @ cells)

    def again(weight: np.ndarray) -> float:
        rows = np.repeat(np.arange(len(y)), weight.astype(int))
        if not len(rows):
            return float("nan")
        try:
            return judge(y[rows], values[rows], beta, zero_division, None if known is None else known[rows])
        except ValueError:  # a metric of the user's, of rows of one class
            return float("nan")

    return again


def _ratio_mean(sums: np.ndarray, weights: np.ndarray) -> float:
    there = weights > 0
    return float((sums[there] / weights[there]).mean()) if there.any() else float("nan")


def _weighted_f(
    metric: str,
    y: np.ndarray,
    pred: np.ndarray,
    beta: float,
    zero_division: float,
    known: np.ndarray | None,
    group: np.ndarray | None = None,
) -> Callable[[np.ndarray], float]:
    """As a function of the weights of rows, or of the groups (n,) of rows."""
    y, pred = counted(y, known), counted(pred, known)
    labels = slice(None) if known is None else known.any(0)
    cells = [a[:, labels].astype(np.float32) for a in (y & pred, y, pred)]
    if group is not None:
        cells = [np.stack([np.bincount(group, column) for column in a.T], axis=1) for a in cells]

    def score(weight: np.ndarray) -> float:
        overlap, true, predicted = ((weight @ a).sum() if metric == "f1_micro" else weight @ a for a in cells)
        return float(f_beta(overlap, true, predicted, beta, zero_division).mean())

    return score


def paired_mean(difference: np.ndarray, groups: np.ndarray | None = None) -> tuple[float, float, float]:
    """(mean of the rows' differences (n,), lower, upper): 95 % interval by Student's t.

    Differences are summed by group (n,), such as near-duplicates, because only groups are independent (the
    cluster-robust standard error, Liang and Zeger 1986); None: every row is its own group. Where all groups differ by
    the same amount, their spread says nothing: then the interval allows for the largest share of opposite differences
    that may be unseen with 2.5 % probability, so that fewer than six of them exclude no zero, as in a sign test.
    """
    n, mean = len(difference), float(difference.mean())
    group = _numbered(groups, n)
    sums, sizes = np.bincount(group, difference), np.bincount(group)
    if (g := len(sums)) < 2:
        return mean, float("-inf"), float("inf")
    if np.ptp(sums / sizes) <= 1e-12 * abs(mean):
        half = _unseen(mean, g)
    else:
        deviation = float(np.sqrt(g / (g - 1) * ((sums - mean * sizes) ** 2).sum())) / n
        half = students_t(g - 1) * deviation
    return mean, mean - half, mean + half


def _unseen(gain: float, groups: int) -> float:
    """How much the largest share of opposite gains takes off that `groups` equal ones miss with 2.5 % probability."""
    return 2 * abs(gain) * (1 - 0.025 ** (1 / groups))


def students_t(freedom: float) -> float:
    """The 97.5 % quantile of Student's t.

    >>> round(students_t(9), 3)
    2.262
    """
    from scipy.special import stdtrit  # slow to import, and `make scores` needs no interval

    return float(stdtrit(freedom, 0.975))
