"""Section Label errors: labels that are likely wrong, and near-duplicate images whose labels differ.

Confident learning (Northcutt et al. 2021) on out-of-fold probabilities, one label at a time, by cleanlab.
"""

import numpy as np

from tandem.report.data_model import ReportData
from tandem.report.mistakes import row_fields

ROWS = 160  # shown
GROUPS = 40  # of near-duplicates, shown


def likely_errors(y: np.ndarray, proba: np.ndarray, known: np.ndarray | None = None) -> np.ndarray:
    """(k, 2) row and label of each likely label error, the least probable given label first; proba out of fold. Each
    label is looked at on the rows where it is known."""
    if known is None:
        cells = _likely_errors(y, proba)
    else:
        rows = [np.flatnonzero(column) for column in known.T]
        found = [_likely_errors(y[own, j, None], proba[own, j, None])[:, 0] for j, own in enumerate(rows)]
        each = enumerate(zip(rows, found, strict=True))
        cells = np.concatenate([np.column_stack([own[i], np.full(len(i), j)]) for j, (own, i) in each])
    p, given_label = proba[*cells.T], y[*cells.T].astype(bool)
    return cells[np.argsort(np.where(given_label, p, 1 - p), kind="stable")]


def _likely_errors(y: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """(k, 2) of the rows and labels that are given."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    # confident learning needs both classes
    both_classes = np.flatnonzero((y.sum(0) > 1) & (y.sum(0) < len(y) - 1))
    if not len(both_classes):
        return np.zeros((0, 2), int)
    given = [np.flatnonzero(row).tolist() for row in y[:, both_classes]]
    ranked, _, _ = find_multilabel_issues_per_class(
        given, proba[:, both_classes].astype(np.float64), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return np.array([(i, j) for j, rows in zip(both_classes, ranked, strict=True) for i in rows], int).reshape(-1, 2)


def label_errors(data: ReportData, proba: np.ndarray) -> dict:
    """{`cells`, `rows`, `remove` (given labels that look wrong), `add` (missing ones that look right), `by_label`:
    counts, `shown`: the worst rows, as the page shows them}."""
    y, cells = data.y, likely_errors(data.y, proba, data.known)
    rows: dict[int, list[dict]] = {}
    for i, j in cells.tolist():
        error = {"label": j, "kind": "remove" if y[i, j] else "add", "p": round(float(proba[i, j]), 4)}
        rows.setdefault(i, []).append(error)
    removed = int(y[*cells.T].sum())
    return {
        "cells": len(cells),
        "remove": removed,
        "add": len(cells) - removed,
        "rows": len(rows),
        "by_label": np.bincount(cells[:, 1], minlength=y.shape[1]).tolist(),
        "shown": [row_fields(data, i) | {"wrong": errors} for i, errors in list(rows.items())[:ROWS]],
    }


def differing_duplicates(data: ReportData) -> list[dict]:
    """Groups of near-duplicate training images whose known labels differ; those with most differing labels first."""
    absent = data.counted(data.y == 0)
    order = np.argsort(data.group, kind="stable")
    starts = np.flatnonzero(np.diff(data.group[order], prepend=-1))
    groups: list[dict] = []
    for rows in np.split(order, starts[1:]):
        differ = np.flatnonzero(data.y[rows].any(0) & absent[rows].any(0)).tolist()  # none in a group of one row
        if differ:
            groups.append({"differ": differ, "rows": [row_fields(data, int(i)) for i in rows[:6]]})
    groups.sort(key=lambda group: -len(group["differ"]))
    return groups[:GROUPS]
