"""Section Suspects: labels that are likely wrong, and near-duplicate images whose labels differ.

Confident learning (Northcutt et al. 2021) on out-of-fold probabilities, one label at a time, by cleanlab.
"""

import numpy as np

from tandem.report.data_model import Evidence
from tandem.report.mistakes import about

SHOWN = 160  # rows
PAIRS = 40  # groups of near-duplicates


def suspect_cells(y: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """(k, 2) row and label of each likely label error, the least credible first; y (n, c) 0/1, proba out of fold.

    A label that all rows or none have can't be judged.
    """
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class

    some = np.flatnonzero((y.sum(0) > 1) & (y.sum(0) < len(y) - 1))
    if not len(some):
        return np.zeros((0, 2), int)
    given = [np.flatnonzero(row).tolist() for row in y[:, some]]
    ranked, _, _ = find_multilabel_issues_per_class(
        given, proba[:, some].astype(np.float64), return_indices_ranked_by="self_confidence", n_jobs=1
    )
    cells = [(int(i), int(j)) for j, rows in zip(some, ranked, strict=True) for i in rows]
    found = np.array(sorted(cells, key=lambda cell: _credit(y, proba, *cell)), int)
    return found.reshape(-1, 2)


def _credit(y: np.ndarray, proba: np.ndarray, i: int, j: int) -> float:
    """The probability of the label as it is given."""
    return float(proba[i, j] if y[i, j] else 1 - proba[i, j])


def suspects(evidence: Evidence) -> dict:
    """{`cells`: how many, `rows`: how many, `by_label`: counts, `shown`: what the page shows of the worst rows}."""
    y, proba = evidence.y, evidence.subject.proba
    cells = suspect_cells(y, proba)
    rows: dict[int, list[int]] = {}
    for i, j in cells.tolist():
        rows.setdefault(i, []).append(j)
    shown = []
    for i, labels in list(rows.items())[:SHOWN]:
        wrong = [
            {"label": j, "kind": "remove" if y[i, j] else "add", "p": round(float(proba[i, j]), 4)}
            for j in labels
        ]
        credit = min(_credit(y, proba, i, j) for j in labels)
        shown.append(about(evidence, i) | {"wrong": wrong, "credit": round(credit, 4)})
    by_label = np.bincount(cells[:, 1], minlength=y.shape[1]).tolist()
    removed = int(y[cells[:, 0], cells[:, 1]].sum())
    return {
        "cells": len(cells),
        "remove": removed,
        "add": len(cells) - removed,
        "rows": len(rows),
        "by_label": by_label,
        "shown": shown,
    }


def differing_twins(evidence: Evidence) -> list[dict]:
    """Groups of near-duplicate training images whose labels differ; those with most differing labels first."""
    if evidence.group is None:
        return []
    order = np.argsort(evidence.group, kind="stable")
    starts = np.flatnonzero(np.diff(evidence.group[order], prepend=-1))
    found = []
    for rows in np.split(order, starts[1:]):
        y = evidence.y[rows]
        differ = np.flatnonzero(y.min(0) != y.max(0)) if len(rows) > 1 else []
        if len(differ):
            found.append({"differ": differ.tolist(), "rows": [about(evidence, int(i)) for i in rows[:6]]})
    found.sort(key=lambda twins: -len(twins["differ"]))
    return found[:PAIRS]
