"""Section Mistakes: the worst rows overall and per label, their errors, and the term that most likely caused each."""

import numpy as np

from tandem.artifacts.contributions import TERMS
from tandem.logits import logit
from tandem.metrics import f1_per_row
from tandem.report.data_model import FocusExperiment, ReportData

OVERALL = 240  # rows
PER_CLASS = 480  # rows, shared equally by the labels: half for false negatives, half for false positives
CAUSES = TERMS[:-1]  # the base rate is the same for all rows
FALSE_NEGATIVE, FALSE_POSITIVE = "false_negative", "false_positive"


def worst_rows(y: np.ndarray, pred: np.ndarray, proba: np.ndarray, row_score: np.ndarray) -> list[int]:
    """Rows to show: the lowest scores, ties by the most confident errors; and the most confident errors per label."""
    wrong, z = y.astype(bool) != pred, logit(proba)
    # (n, c) logit of the wrong answer: higher where the model is more confident that the given label is wrong
    confidence = np.where(wrong, np.where(y.astype(bool), -z, z), -np.inf)
    loss = np.where(wrong, np.maximum(confidence, 0.0), 0.0).sum(1)
    order = np.lexsort((-loss, row_score))
    order = order[wrong.any(1)[order]]
    chosen = set(order[:OVERALL].tolist())
    each = max(1, PER_CLASS // (2 * y.shape[1]))
    for j in range(y.shape[1]):
        for truth in (1, 0):  # false negatives, false positives
            rows = np.flatnonzero(wrong[:, j] & (y[:, j] == truth))
            chosen |= set(rows[np.argsort(-confidence[rows, j], kind="stable")[:each]].tolist())
    return [int(i) for i in order if int(i) in chosen]


def mean_terms(terms: np.ndarray, y: np.ndarray, known: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """(c, 6) mean terms of each label: over rows with it (false negatives), over those without it (false positives)."""

    def mean(rows: np.ndarray) -> np.ndarray:
        return np.einsum("ncd,nc->cd", terms, rows.astype(terms.dtype)) / np.maximum(rows.sum(0), 1)[:, None]

    absent = ~y.astype(bool) if known is None else ~y.astype(bool) & known
    return {FALSE_NEGATIVE: mean(y.astype(bool)), FALSE_POSITIVE: mean(absent)}


def likely_causes(terms: np.ndarray, means: np.ndarray, kind: str) -> np.ndarray:
    """(k,) index into CAUSES: the one of `terms` (k, 6) that is furthest below its mean for a false negative, furthest
    above it for a false positive.

    >>> means = np.array([[2.5, 2.0, 0.0, 0.0, 0.0, -3.0]])
    >>> likely_causes(np.array([[0.5, 2.0, 0.1, 0.0, 0.0, -3.0]]), means, FALSE_NEGATIVE)
    array([0])
    """
    difference = (terms - means)[:, : len(CAUSES)]
    return np.argmax(-difference if kind == FALSE_NEGATIVE else difference, axis=1)


def mistakes(data: ReportData, focus: FocusExperiment) -> list[dict]:
    """What the page shows of each row of `worst_rows`; `row` is its position in the training file."""
    y, pred = data.y.astype(bool), data.counted(focus.pred)
    score = f1_per_row(y, pred, data.rule.beta, data.rule.zero_division)
    means, rows = mean_terms(focus.terms, y, data.known) if focus.terms is not None else None, []
    for i in worst_rows(data.y, pred, focus.proba, score):
        cells = np.flatnonzero(y[i] != pred[i]).tolist()
        wrong = [_cell(focus, means, i, j, FALSE_NEGATIVE if y[i, j] else FALSE_POSITIVE) for j in cells]
        wrong.sort(key=lambda cell: -abs(cell["p"] - (cell["kind"] == FALSE_NEGATIVE)))
        figures = {"score": round(float(score[i]), 3), "pred": np.flatnonzero(pred[i]).tolist(), "wrong": wrong}
        rows.append(row_fields(data, i) | figures)
    return rows


def row_fields(data: ReportData, i: int) -> dict:
    """What every card of a training row shows: split, position in it, id, caption, true labels, fold."""
    captions = data.train.captions
    return {
        "split": "train",
        "row": i,
        "id": data.train.ids[i],
        "caption": captions[i] if captions else None,
        "true": np.flatnonzero(data.y[i]).tolist(),
        "fold": int(data.fold[i]),
    }


def _cell(focus: FocusExperiment, means: dict | None, i: int, j: int, kind: str) -> dict:
    cell = {"label": j, "kind": kind, "p": round(float(focus.proba[i, j]), 4)}
    if means is not None and focus.terms is not None:
        terms = focus.terms[i, j].astype(float)
        cause = CAUSES[int(likely_causes(terms[None], means[kind][[j]], kind)[0])]
        cell |= {"terms": [round(v, 2) for v in terms.tolist()], "cause": cause}
    return cell


def causes_by_label(data: ReportData, focus: FocusExperiment) -> dict[str, np.ndarray]:
    """(c, len(CAUSES)) number of false negatives, and of false positives, per likely cause; empty without terms."""
    if focus.terms is None:
        return {}
    y, counts, means = data.y.astype(bool), {}, mean_terms(focus.terms, data.y, data.known)
    pred = data.counted(focus.pred)
    for kind, cells in ((FALSE_NEGATIVE, y & ~pred), (FALSE_POSITIVE, ~y & pred)):
        label = np.nonzero(cells)[1]
        counts[kind] = np.zeros((y.shape[1], len(CAUSES)), int)
        np.add.at(counts[kind], (label, likely_causes(focus.terms[cells], means[kind][label], kind)), 1)
    return counts


def cause_counts(data: ReportData, focus: FocusExperiment) -> dict[str, dict[str, int]]:
    """The same over all labels, by name of the cause, of those causes that its terms have."""
    if focus.terms is None:
        return {}
    used = [i for i in range(len(CAUSES)) if focus.terms[:, :, i].any()]
    return {kind: {CAUSES[i]: int(n[:, i].sum()) for i in used} for kind, n in causes_by_label(data, focus).items()}
