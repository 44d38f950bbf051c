"""Expected-F1 sets: for each row the label set of highest expected F-beta, Jaccard index, or probability; exact.

Labels are independent, or the probability of a set is that under independence times a weight of its size. The weights
can express that no row is empty, or that many rows have one label; with them P(label j, size s) is known, the input of
the general F-measure maximiser (Dembczynski et al. 2011). In both cases the best set of k labels is the k most
probable, so a row needs one expectation for each k, from the distributions of how many of the first k and of the
others are true (Ye et al. 2012; Waegeman et al. 2014). The same holds for every score that rises with the overlap and
falls with the number of other true labels, such as the Jaccard index.
"""

from collections.abc import Callable
from functools import partial

import numpy as np

from tandem.logits import logit

Gain = Callable[[np.ndarray, int, np.ndarray, int], np.ndarray]  # (weights, true positives, true, predicted labels)

CHUNK = 2**22  # cells of the largest temporary array
NEGLIGIBLE = 1e-15  # probability of the sets that are left out


def expected_sets(
    proba: np.ndarray,
    beta: float = 1.0,
    least: int = 0,
    most: int = 10**6,
    weights: np.ndarray | None = None,
    zero_division: float = 0.0,
    jaccard: bool = False,
) -> np.ndarray:
    """(n, c) bool: the sets of highest expected F-beta, or Jaccard index, with `least` to `most` labels.

    proba          (n, c) marginals under independence
    weights        (s,) >= 0, of sets with 0, 1, ... labels; larger sets are impossible. None: independent labels, as
                   where a weight is not finite, and in a row where only sets of probability 0 have a weight.
    zero_division  F-beta of the empty set where no label is true
    """
    n, c = proba.shape
    if weights is not None and not np.isfinite(weights).all():
        weights = None
    mean, pred, start = proba.sum(1, dtype=np.float64), np.zeros((n, c), bool), 0
    gain = _jaccard if jaccard else partial(_f_beta, beta)
    by_size = np.argsort(-mean, kind="stable")
    while start < n:
        if weights is None:
            possible = np.ones(_largest_set(mean[by_size[start]], c) + 1)
        else:
            possible = np.asarray(weights, np.float64)[: c + 1]
        rows = by_size[start : start + max(1, CHUNK // ((c + 1) * len(possible)))]
        order = np.argsort(-proba[rows], axis=1, kind="stable")
        descending = np.take_along_axis(proba[rows], order, 1)
        # F1 is at least the Jaccard index, so that its bound holds for both
        bound = 1.0 if jaccard else beta
        sizes = _best_sizes(descending, gain, bound, least, min(most, c), possible, zero_division)
        pred[rows[:, None], order] = np.arange(c) < sizes[:, None]
        start += len(rows)
    return pred


def _largest_set(mean: float, c: int) -> int:
    """A number of labels that a row exceeds with a probability below NEGLIGIBLE, by Chernoff's bound; c at most.

    `mean` is the expected number, labels are independent. Larger sets change no expected F-beta by more than
    NEGLIGIBLE; without them the cost of a row with many labels grows with their number, not with its square.

    >>> _largest_set(2.0, 18), _largest_set(3.0, 1000)
    (18, 26)
    """
    sizes = np.arange(1, c + 1)
    log_bound = sizes - mean + sizes * np.log(max(mean, 1e-300) / sizes)
    rare = np.flatnonzero((sizes > mean) & (log_bound < np.log(NEGLIGIBLE)))
    return int(rare[0]) if len(rare) else c


def _best_sizes(
    p: np.ndarray, gain: Gain, beta: float, least: int, most: int, weights: np.ndarray, zero_division: float
) -> np.ndarray:
    """(n,) number of most probable labels to take; `p` (n, c) descends in each row."""
    n, c = p.shape
    p = p.astype(np.float64).T
    # (s, n) P(s of the labels before k are true), and (c + 1, s, n) of those from each k on
    prefix, suffix = np.eye(len(weights), 1) * np.ones(n), np.zeros((c + 1, len(weights), n))
    suffix[c] = prefix
    for k in range(c - 1, -1, -1):
        suffix[k] = add_label(suffix[k + 1], p[k])
    mass = suffix[0] * weights[:, None]
    total = mass.sum(0)
    impossible = total <= 0
    total = np.where(impossible, 1.0, total)
    mean_size = (mass * np.arange(len(weights))[:, None]).sum(0) / total
    best, chosen = np.full(n, -np.inf), np.full(n, min(least, c))
    for k in range(c + 1):
        if k:
            prefix = add_label(prefix, p[k - 1])
        if least <= k <= most:
            value = _expected(prefix, suffix[k], k, gain, weights, zero_division) / total
            better = value > best + 1e-12
            best, chosen = np.where(better, value, best), np.where(better, k, chosen)
        # upper bound for all larger k: F is concave in the overlap, whose mean is at most the mean size
        bound = (1 + beta**2) * mean_size / (k + 1 + beta**2 * mean_size)
        if k >= most or (k >= least and (best >= bound - 1e-12).all()):
            break
    if impossible.any():
        rest = np.ascontiguousarray(p[:, impossible].T)
        sizes = np.ones(_largest_set(float(rest.sum(1).max()), c) + 1)
        chosen[impossible] = _best_sizes(rest, gain, beta, least, most, sizes, zero_division)
    return chosen


def expected_values(
    p: np.ndarray,
    beta: float = 1.0,
    least: int = 0,
    weights: np.ndarray | None = None,
    zero_division: float = 0.0,
    jaccard: bool = False,
) -> np.ndarray:
    """Expected F-beta, or Jaccard index, of a row's first 0, 1, 2, ... labels, in the order of its probabilities (c,).

    It ends where more labels can be none of the best two sets. `weights` and `zero_division` as in `expected_sets`.
    """
    c, gain = len(p), _jaccard if jaccard else partial(_f_beta, beta)
    if weights is None or not np.isfinite(weights).all():
        weights = np.ones(_largest_set(float(p.sum()), c) + 1)
    weights, column = np.asarray(weights, np.float64)[: c + 1], p.astype(np.float64)[:, None]
    prefix, suffixes = np.eye(len(weights), 1), [np.eye(len(weights), 1)]
    for one in column[::-1]:
        suffixes.append(add_label(suffixes[-1], one))
    mass = suffixes[-1][:, 0] * weights
    if not (total := mass.sum()) > 0:
        return expected_values(p, beta, least, None, zero_division, jaccard)
    mean_size, squared, values = mass @ np.arange(len(weights)) / total, 1.0 if jaccard else beta**2, list[float]()
    for k in range(c + 1):
        prefix = add_label(prefix, column[k - 1]) if k else prefix
        values.append(float(_expected(prefix, suffixes[c - k], k, gain, weights, zero_division)[0] / total))
        bound = (1 + squared) * mean_size / (k + 1 + squared * mean_size)  # see `_best_sizes`
        if k > least and sorted(values[least:])[-2] >= bound:
            break
    return np.array(values)


def _f_beta(beta: float, weights: np.ndarray, overlap: int, true: np.ndarray, k: int) -> np.ndarray:
    return weights * (1 + beta**2) * overlap / (beta**2 * true + k)


def _jaccard(weights: np.ndarray, overlap: int, true: np.ndarray, k: int) -> np.ndarray:
    return weights * overlap / (true + k - overlap)


def _expected(
    prefix: np.ndarray, suffix: np.ndarray, k: int, gain: Gain, weights: np.ndarray, zero_division: float
) -> np.ndarray:
    """(n,) sum over sets of probability x weight x score of the first k labels."""
    if k == 0:
        return suffix[0] * weights[0] * zero_division
    value = np.zeros(prefix.shape[1])
    for overlap in range(1, min(k + 1, len(weights))):
        others = np.arange(len(weights) - overlap)
        gains = gain(weights[overlap + others], overlap, overlap + others, k)
        value += prefix[overlap] * (gains @ suffix[: len(others)])
    return value


def most_probable_sets(
    proba: np.ndarray, least: int = 0, most: int = 10**6, weights: np.ndarray | None = None
) -> np.ndarray:
    """(n, c) bool: the most probable sets with `least` to `most` labels; `weights` of the sizes as in `expected_sets`.

    Without weights also the sets of fewest expected errors: the labels of probability above 0.5, within the limits.
    """
    n, c = proba.shape
    order = np.argsort(-proba, axis=1, kind="stable")
    value = np.column_stack([np.zeros(n), logit(np.take_along_axis(proba, order, 1)).cumsum(1)])  # of the first k
    sizes = np.arange(c + 1)
    allowed = (sizes >= min(least, c)) & (sizes <= most)
    if weights is not None and np.isfinite(weights).all():
        possible = np.append(weights, np.zeros(c + 1))[: c + 1]
        if (possible[allowed] > 0).any():
            allowed &= possible > 0
            value = value + np.log(np.where(allowed, possible, 1))
    chosen = np.where(allowed, value, -np.inf).argmax(1)
    pred = np.zeros((n, c), bool)
    np.put_along_axis(pred, order, np.arange(c) < chosen[:, None], axis=1)
    return pred


def add_label(sizes: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Distribution of the number of true labels (s, n) with one more label of probability p (n,)."""
    added = sizes * (1 - p)
    added[1:] += sizes[:-1] * p
    return added
