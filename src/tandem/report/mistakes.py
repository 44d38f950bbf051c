"""Section Mistakes: the worst rows overall and by label, what was missed and invented there, and what to blame."""

import numpy as np

from tandem.artifacts.contributions import TERMS
from tandem.logits import logit
from tandem.report.data_model import Evidence, Subject

OVERALL = 240  # rows
PER_CLASS = 480  # rows, shared by the labels: half of each share missed, half invented
BLAMED = TERMS[:4]


def worst_rows(y: np.ndarray, pred: np.ndarray, proba: np.ndarray, row_score: np.ndarray) -> list[int]:
    """Rows to show, worst first: lowest score, then the surest mistake; and each label's surest mistakes."""
    wrong = y.astype(bool) != pred
    sure = np.where(wrong, surprise(y, proba), -np.inf)  # (n, c) logits by which a cell is wrong
    loss = np.where(wrong, np.maximum(sure, 0.0), 0.0).sum(1)
    order = np.lexsort((-loss, row_score))
    order = order[wrong.any(1)[order]]
    chosen = set(order[:OVERALL].tolist())
    each = max(1, PER_CLASS // (2 * y.shape[1]))
    for j in range(y.shape[1]):
        for kind in (1, 0):  # missed, invented
            rows = np.flatnonzero(wrong[:, j] & (y[:, j] == kind))
            chosen |= set(rows[np.argsort(-sure[rows, j], kind="stable")[:each]].tolist())
    return [int(i) for i in order if int(i) in chosen]


def surprise(y: np.ndarray, proba: np.ndarray) -> np.ndarray:
    """(n, c) logit against the truth: how sure the model is that the given label is wrong."""
    z = logit(proba)
    return np.where(y.astype(bool), -z, z)


def usual(terms: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """(c, 5) mean terms of each label: over the rows that have it (`missed`), and those that have not (`invented`)."""
    y = y.astype(bool)
    means = {}
    for kind, rows in (("missed", y), ("invented", ~y)):
        total = np.einsum("ncd,nc->cd", terms, rows.astype(terms.dtype))
        means[kind] = total / np.maximum(rows.sum(0), 1)[:, None]
    return means


def blame(terms: np.ndarray, usual: np.ndarray, kind: str) -> np.ndarray:
    """(k,) index of the term to blame in `terms` (k, 5): the one that is furthest from what it is on other rows.

    Of a missed label the one furthest below its usual value on rows that have it, of an invented one the one furthest
    above its usual value on rows that have not. The last term, what every row gets, is no reason.

    >>> blame(np.array([[0.5, 2.0, 0.1, 0.0, -3.0]]), np.array([[2.5, 2.0, 0.0, 0.0, -3.0]]), "missed")
    array([0])
    """
    off = (terms - usual)[:, : len(BLAMED)]
    return np.argmax(-off if kind == "missed" else off, axis=1)


def mistakes(evidence: Evidence) -> list[dict]:
    """What the page shows of each row of `worst_rows`; `row` is its position in the training file."""
    subject, y = evidence.subject, evidence.y.astype(bool)
    means = usual(subject.terms, y) if subject.terms is not None else None
    chosen = worst_rows(evidence.y, subject.pred, subject.proba, evidence.row_scores)
    sure = surprise(evidence.y, subject.proba)
    found = []
    for i in chosen:
        cells = np.flatnonzero(y[i] != subject.pred[i])
        wrong = [_cell(subject, means, i, int(j), "missed" if y[i, j] else "invented") for j in cells]
        row = about(evidence, i) | {
            "score": round(float(evidence.row_scores[i]), 3),
            "sure": round(float(sure[i, cells].max()), 2),
            "pred": np.flatnonzero(subject.pred[i]).tolist(),
            "wrong": sorted(wrong, key=lambda cell: -abs(cell["p"] - (cell["kind"] == "missed"))),
        }
        found.append(row)
    return found


def about(evidence: Evidence, i: int) -> dict:
    """What every card of a training row shows: id, caption, true labels, fold."""
    captions = evidence.train.captions
    return {
        "row": i,
        "id": evidence.train.ids[i],
        "caption": captions[i] if captions else None,
        "true": np.flatnonzero(evidence.y[i]).tolist(),
        "fold": int(evidence.fold[i]) if evidence.fold is not None else None,
    }


def _cell(subject: Subject, means: dict | None, i: int, j: int, kind: str) -> dict:
    cell = {"label": j, "kind": kind, "p": round(float(subject.proba[i, j]), 4)}
    if means is not None:
        terms = subject.terms[i, j].astype(float)
        guilty = BLAMED[int(blame(terms[None], means[kind][[j]], kind)[0])]
        cell |= {"terms": [round(v, 2) for v in terms.tolist()], "blame": guilty}
    return cell


def blame_counts(evidence: Evidence) -> dict[str, dict[str, int]]:
    """How many missed and invented labels each term is to blame for, over all rows; empty without terms."""
    subject = evidence.subject
    if subject.terms is None:
        return {}
    y, counts, means = evidence.y.astype(bool), {}, usual(subject.terms, evidence.y)
    for kind, cells in (("missed", y & ~subject.pred), ("invented", ~y & subject.pred)):
        guilty = blame(subject.terms[cells], means[kind][np.nonzero(cells)[1]], kind)
        counts[kind] = dict(zip(BLAMED, np.bincount(guilty, minlength=len(BLAMED)).tolist(), strict=True))
    return counts
