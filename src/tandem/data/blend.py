"""Blends of submission files alone: votes of label sets, means of probabilities; no model is needed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from tandem.config.competition import Competition
from tandem.data.competition_tables import read_one
from tandem.data.submission import ExpectedRows
from tandem.data.submission_form import layout_of
from tandem.logits import logit, sigmoid
from tandem.metrics import METRICS, rank_correlations

Kind = Literal["label sets", "probabilities"]
Method = Literal["vote", "rank", "logit"]
METHODS: dict[Kind, tuple[Method, ...]] = {"label sets": ("vote",), "probabilities": ("logit", "rank")}  # default first


@dataclass(frozen=True)
class SubmissionFile:
    """The content of a submission, its rows as the competition expects them.

    values  (n, c) 0 and 1 of label sets, or probabilities
    """

    path: Path
    kind: Kind
    values: np.ndarray

    @property
    def sets(self) -> np.ndarray:
        """(n, c) bool: its label sets; of probabilities those of one half and more."""
        return self.values >= 0.5


def read_submission(path: Path, competition: Competition, expected: ExpectedRows) -> SubmissionFile:
    """A file of label sets or probabilities in any form that a submission can have; only 0 and 1 are label sets.

    Raises ValueError that names the file where its columns, labels or numbers are not as a submission's, or its rows
    not those that are expected; their order does not matter.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    table = read_one(path, competition.encoding)
    try:
        form = layout_of(table, competition)
        numbers = form.layout in ("columns", "long")
        form = replace(form, values="probabilities") if numbers else form
        ids, values = form.parse(table)
        pairs = form.pairs(table) if form.layout == "long" else []
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    row: dict[str, int] = {}
    for i, id in enumerate(ids):
        if row.setdefault(id, i) != i:
            raise ValueError(f"{path}:{table.lines[i]}: id {id!r} is also on line {table.lines[row[id]]}")
    _require_same(path, ids, expected.ids, f"of {expected.source}")
    if pairs:
        wanted = expected.pairs or [(id, name) for id in expected.ids for name in form.names]
        _require_same(
            path, [f"{id} {name}" for id, name in pairs], [f"{id} {name}" for id, name in wanted], "and labels"
        )
    values = values[[row[id] for id in expected.ids]].astype(float)
    return SubmissionFile(path, "probabilities" if ((values > 0) & (values < 1)).any() else "label sets", values)


def _require_same(path: Path, ids: Sequence[str], wanted: Sequence[str], of: str) -> None:
    there, needed = set(ids), set(wanted)
    for what, names in (("are missing", needed - there), ("are not expected", there - needed)):
        if names:
            raise ValueError(f"{path}: {len(names):,} of the {len(needed):,} ids {of} {what}, first: {min(names)!r}")


def kind_of(files: Sequence[SubmissionFile]) -> Kind:
    """The one kind of all files; raises ValueError where they differ."""
    first = files[0]
    for file in files[1:]:
        if file.kind != first.kind:
            both = f"{first.path} holds {first.kind}, {file.path} {file.kind}"
            raise ValueError(f"{both}: blend files of one kind; write the probabilities of both, or the label sets")
    return first.kind


def blend_values(values: np.ndarray, weights: np.ndarray, method: Method) -> np.ndarray:
    """(n, c) in [0, 1] from those of m files (m, n, c): the share of votes, or the weighted mean of logits, as a
    probability, or of ranks within a label, from 0 to 1.

    >>> blend_values(np.array([[[1.0]], [[0.0]], [[0.0]]]), np.array([2, 1, 1]), "vote").tolist()
    [[0.5]]
    """
    if method == "rank":
        from scipy.stats import rankdata

        values = (rankdata(values, axis=1) - 0.5) / values.shape[1]
    share = weights / weights.sum()
    if method == "logit":
        return sigmoid(np.tensordot(share, logit(values), 1))
    return np.tensordot(share, values, 1)


def blended_sets(
    files: Sequence[SubmissionFile], weights: np.ndarray, method: Method, blended: np.ndarray
) -> np.ndarray:
    """(n, c) bool: labels with one half of the votes, or a mean probability of one half, and more; by ranks, as many
    rows of each label as the files have on average, those of the highest mean rank."""
    if method != "rank":
        return blended >= 0.5 - 1e-9  # weights such as 0.1 add up to a little less
    counts = np.array([file.sets.sum(0) for file in files])
    wanted = np.round(weights / weights.sum() @ counts).astype(int)
    place = np.argsort(np.argsort(-blended, axis=0, kind="stable"), axis=0)
    return place < wanted


def within_limits(pred: np.ndarray, value: np.ndarray, least: int, most: int) -> np.ndarray:
    """Label sets of `least` to `most` labels: a row with too few gets the labels of highest `value` (n, c), one with
    too many keeps those. Of equal values the label that is chosen in more rows comes first, then the first in order.

    >>> within_limits(np.array([[0, 0], [1, 1]], bool), np.array([[0.2, 0.3], [0.9, 0.8]]), 1, 1).tolist()
    [[False, True], [True, False]]
    """
    rate = np.broadcast_to(-pred.sum(0), value.shape)
    order = np.lexsort((rate, -value, ~pred), axis=1)  # the labels chosen, then the others
    place = np.argsort(order, axis=1)
    return (place < np.clip(pred.sum(1), least, most)[:, None]).astype(bool)


def agreement(files: Sequence[SubmissionFile]) -> list[dict[str, float | str]]:
    """For each two files: mean F1 and Jaccard index of the rows' label sets, two empty ones agree; and of probabilities
    the mean rank correlation of the labels that vary in both (Spearman)."""
    found = []
    for a, b in combinations(files, 2):
        scores: dict[str, float | str] = {"a": str(a.path), "b": str(b.path)}
        for name in ("f1_samples", "jaccard_samples"):
            scores[name] = METRICS[name](a.sets, b.sets, 1.0, 1.0, None)
        if a.kind == "probabilities":
            each = rank_correlations(a.values, b.values)
            scores["rank_correlation"] = float(np.nanmean(each)) if np.isfinite(each).any() else 1.0
        found.append(scores)
    return found
