"""The terms of a stack's logits: the part of each member is shared out among the member's own terms.

A stack's logit is a sum of one part for each member, of the row's other labels, and of a constant. With the member's
terms t, less their means over the rows fitted, and w, the slope of its part on its logit, the part p is

    p = sum of w t_k + r |t_k| / sum of |t|,  r = p - w sum of t

For a linear stack, w is the member's weight and r is 0 (but for logits that the stack clips); for boosted trees r is
what is not linear. Terms of opposite signs keep them: w does not depend on the row, so nothing is divided by a sum that
may be close to 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from tandem.artifacts.contributions import JOINT, TERMS, splits_in, stream_contributions, term_of
from tandem.artifacts.paths import Paths
from tandem.config.experiments import Experiment
from tandem.ensemble.stacking import Stack, StackInputs, TermSplit

SAMPLE = 1000  # rows, at most, from which the slopes of a stack are computed


@dataclass(frozen=True)
class StoredTerms:
    """The terms of a member's logits for the rows `ids`, in a file that is read some rows at a time."""

    path: Path
    split: str
    ids: Sequence[str]
    n_labels: int

    @cached_property
    def _row(self) -> dict[str, int]:
        return {id: row for row, id in enumerate(self.ids)}

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(numbers of rows (b,), their terms (b, c, 6)); raises ValueError where a row is missing."""
        found = 0
        for ids, terms in stream_contributions(self.path, self.split, self.n_labels):
            rows = np.array([self._row.get(id, -1) for id in ids])
            found += (rows >= 0).sum()
            yield rows[rows >= 0], terms[rows >= 0]
        if found != len(self.ids):
            raise ValueError(
                f"{self.path}: terms of {found} rows of {self.split!r}, expected {len(self.ids)}; run make train"
            )


# of a member: the one term that its part belongs to, or its terms (b, c, 6) with the numbers of their rows (b,)
Source = str | Iterable[tuple[np.ndarray, np.ndarray]]


def single_term(experiment: Experiment) -> str:
    """The one of TERMS that all of a member's part belongs to; "" where the member's own terms share it out."""
    return "" if experiment.has_terms and len(experiment.reads) > 1 else term_of(experiment.reads)


def stored_terms(
    paths: Paths, members: Mapping[str, Experiment], split: str, ids: Sequence[str], n_labels: int
) -> list[Source]:
    """The terms of each member for the rows `ids` of a split; "joint" where it should have some and they are not
    stored."""
    out: list[Source] = []
    for name, experiment in members.items():
        file, term = paths.contributions(name), single_term(experiment)
        has_file = not term and split in splits_in(file)
        out.append(StoredTerms(file, split, ids, n_labels) if has_file else term or JOINT)
    return out


def share_out(part: np.ndarray, centred: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """(n, c, 6) that sum to a member's part (n, c), by its centred terms (n, c, 6) and the slope (c,) or (n, c).

    What has no term to share it is `joint`. Opposite terms that cancel keep their signs:

    >>> terms = np.array([[[3.0, -2.0, 0.0, 0.0, 0.0, 0.0]]])
    >>> share_out(np.array([[0.5]]), terms, np.array([0.5])).tolist()
    [[[1.5, -1.0, 0.0, 0.0, 0.0, 0.0]]]
    """
    sizes = np.abs(centred)
    total, rest = sizes.sum(-1), part - slope * centred.sum(-1)
    shared = np.divide(rest, total, out=np.zeros_like(rest), where=total > 1e-6)
    out = slope[..., None] * centred + shared[..., None] * sizes
    out[..., TERMS.index(JOINT)] += np.where(total > 1e-6, 0, rest)
    return out


def stack_terms(parts: np.ndarray, sources: Sequence[Source], split: TermSplit | None) -> np.ndarray:
    """(n, c, 6) TERMS that sum to a stack's logits, from its contributions (n, c, m + 2) and its members' terms.

    Without a split, as in bundles of older versions, the part of a member with several terms is `joint`.
    """
    out = _whole_parts(parts, [one if split is not None or isinstance(one, str) else JOINT for one in sources])
    for i, source in enumerate(sources):
        if split is None or isinstance(source, str):
            continue
        for rows, terms in source:
            out[rows] += share_out(parts[rows, :, i], terms - split.means[i], split.slopes[i])
    return out


def cross_fitted_terms(
    parts: np.ndarray, inputs: StackInputs, fold: np.ndarray, sources: Sequence[Source]
) -> np.ndarray:
    """(n, c, 6) as `stack_terms`, of stacks fitted without a row's fold (n,): with the means of the other folds, and
    the slopes of the stack that predicted it."""
    out, (numbers, fold) = _whole_parts(parts, sources), np.unique(fold, return_inverse=True)
    for i, source in enumerate(sources):
        if isinstance(source, str):
            continue
        sums, counts = _sums(source, fold, parts.shape[1]), np.bincount(fold)[:, None, None]
        if len(numbers) > 1:
            sums, counts = sums.sum(0) - sums, counts.sum() - counts
        means = (sums / counts).astype(np.float32)
        slopes = np.stack([_slopes(parts[fold == k, :, i], inputs.logits[fold == k, i]) for k in range(len(numbers))])
        for rows, terms in source:
            own = fold[rows]
            out[rows] += share_out(parts[rows, :, i], terms - means[own], slopes[own])
    return out


def fit_split(
    stack: Stack, inputs: StackInputs, sources: Sequence[Source], means: np.ndarray | None = None
) -> TermSplit:
    """How the parts of the members of `stack` are shared out, from the rows that it was fitted on; `means` (m, c, 6) of
    the terms, where they are known."""
    n, m, c = inputs.logits.shape
    found, slopes = np.zeros((m, c, len(TERMS)), np.float32), np.zeros((m, c), np.float32)
    sample = inputs.take(np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(int)))
    parts = stack.contributions(sample)
    for i, source in enumerate(sources):
        if not isinstance(source, str):
            found[i] = _sums(source, np.zeros(n, int), c)[0] / n if means is None else means[i]
            slopes[i] = _slopes(parts[:, :, i], sample.logits[:, i])
    return TermSplit(found, slopes)


def _whole_parts(parts: np.ndarray, sources: Sequence[Source]) -> np.ndarray:
    """(n, c, 6): the parts of members with one term, of the context and of the constant."""
    out = np.zeros((*parts.shape[:2], len(TERMS)), np.float32)
    for i, term in enumerate([*sources, "context", "base"]):
        if isinstance(term, str):
            out[:, :, TERMS.index(term)] += parts[:, :, i]
    return out


def _sums(source: Iterable[tuple[np.ndarray, np.ndarray]], fold: np.ndarray, n_labels: int) -> np.ndarray:
    """(folds, c, 6) sums of the terms over the rows of each fold."""
    out = np.zeros((fold.max() + 1, n_labels, len(TERMS)))
    for rows, terms in source:
        for k in np.unique(fold[rows]):
            out[k] += terms[fold[rows] == k].sum(0, dtype=np.float64)
    return out


def _slopes(part: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """(c,) of least squares of a member's part (n, c) on its logits (n, c); 0 where these are constant."""
    x = logits - logits.mean(0, dtype=np.float64)
    variance = (x**2).sum(0)
    covariance = (x * (part - part.mean(0, dtype=np.float64))).sum(0)
    return np.divide(covariance, variance, out=np.zeros(len(variance)), where=variance > 1e-9).astype(np.float32)
