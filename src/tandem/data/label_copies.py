"""Columns of features that nearly equal a label: by a threshold, or by a class for each of a few values.

Such a column was usually made from the labels, and the scores out of fold of what reads it say nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

LEAST = 10  # rows with the label and without it, of which fewer say nothing
ERRORS = 0.03  # of the rarer of both: so many rows may differ
ROWS = 4_000  # that are looked at, drawn at random where there are more
PER_VALUE = 10  # rows a value has on average in a column of few values
BLOCK = 64  # columns at once


@dataclass(frozen=True)
class LabelCopy:
    """A column and the label that it nearly equals."""

    column: str
    label: str
    agree: float  # share of the rows


def label_copies(
    values: np.ndarray, columns: Sequence[str], y: np.ndarray, names: Sequence[str], known: np.ndarray | None = None
) -> list[LabelCopy]:
    """Of values (n, d) and labels y (n, c), of which only `known` cells count; in the order of the columns.

    >>> y = np.tile([[1], [0], [0]], (20, 1))
    >>> label_copies(np.hstack([3 - y, np.arange(60)[:, None]]), ["a", "b"], y, ["cat"])
    [LabelCopy(column='a', label='cat', agree=1.0)]
    """
    if len(y) > ROWS:
        rows = np.sort(np.random.default_rng(0).choice(len(y), ROWS, replace=False))
        values, y, known = values[rows], y[rows], None if known is None else known[rows]
    signs = np.where(y > 0, -1, 1) * (1 if known is None else known)  # (n, c) 0: not known
    positive, rows_known = (signs < 0).sum(0), np.abs(signs).sum(0)
    rarer = np.minimum(positive, rows_known - positive)
    looked_at = np.flatnonzero(rarer >= LEAST).tolist()
    found = []
    for start in range(0, values.shape[1], BLOCK):
        x = np.ascontiguousarray(values[:, start : start + BLOCK].T)
        order = np.argsort(x, axis=1, kind="stable")
        ordered = np.take_along_axis(x, order, axis=1)
        last = np.hstack([ordered[:, 1:] != ordered[:, :-1], np.ones((len(x), 1), bool)])  # of the rows with one value
        errors = [_least_errors(signs[:, j].astype(np.int32), order, last) for j in looked_at]
        for k, i in product(range(len(x)), range(len(looked_at))):
            if errors[i][k] <= ERRORS * rarer[j := looked_at[i]]:
                found.append(LabelCopy(columns[start + k], names[j], 1 - float(errors[i][k] / rows_known[j])))
    return found


def _least_errors(signs: np.ndarray, order: np.ndarray, last: np.ndarray) -> np.ndarray:
    """(d,) rows that the best threshold of each column, in either direction, gets wrong, or the best class of each
    value where a column has few.

    signs  (n,) -1 with the label, 1 without it, 0 where it is not known
    order  (d, n) rows by the values of a column; last: whether a row is the last one with its value
    """
    before = np.cumsum(signs[order], axis=1, dtype=np.int32) * last  # 0 within ties: a threshold below all rows
    rows, positive = int(np.abs(signs).sum()), int((signs < 0).sum())
    errors = np.minimum(positive + before.min(1), rows - positive - before.max(1))
    for k in np.flatnonzero(last.sum(1) <= len(signs) / PER_VALUE).tolist():
        each = np.diff(before[k, last[k]], prepend=0)
        errors[k] = min(errors[k], (rows - np.abs(each).sum()) // 2)
    return errors


def copy_warnings(found: Sequence[LabelCopy], shown: int) -> Iterator[str]:
    """A line each, of the first ones, and how many more there are."""
    for copy in found[:shown]:
        share = f"{100 * copy.agree:.1f} % of the rows"
        yield (
            f"warning: column {copy.column} nearly equals label {copy.label!r} (in {share}); "
            "if it was made from the labels, scores with it say nothing: leave it out"
        )
    if len(found) > shown:
        yield f"warning: {len(found) - shown:,} more pairs of a column and a label are nearly equal"
