"""Section Per class: how well each label is found, where its threshold stands, what moves it."""

from collections.abc import Sequence

import numpy as np

from tandem.artifacts.contributions import modality_shares
from tandem.decoding import Rule
from tandem.decoding.threshold_search import SortedLabels
from tandem.metrics import f1_per_label, f_beta, mean_average_precision
from tandem.report.data_model import Evidence, Scored

BINS = 10
GRID = np.round(np.linspace(0.02, 0.98, 49), 2)  # thresholds at which the curves are drawn
TOGETHER = 5  # labels named beside a mistake


def per_class(evidence: Evidence) -> list[dict]:
    """One dict a label, in the order of the names; a figure that can't be told is None."""
    subject, names, y = evidence.subject, evidence.names, evidence.y.astype(bool)
    pred, proba = subject.pred, subject.proba
    counts = {"support": y.sum(0), "predicted": pred.sum(0), "hit": (y & pred).sum(0)}
    f1 = f1_per_label(y, pred, evidence.rule.beta)
    worth = worth_of_each(y, pred, evidence.rule)
    share = modality_shares(names, subject.terms) if subject.terms is not None else {}
    spread = subject.recipe.get("spread", {})
    metric = metric_curves(proba, y, subject.thresholds, evidence.rule)
    rivals = {e.name: average_precisions(e.proba, y) for e in evidence.experiments}
    ap = average_precisions(proba, y)
    found = []
    for j, name in enumerate(names):
        support, predicted, hit = (int(counts[key][j]) for key in ("support", "predicted", "hit"))
        bins, error = calibration(proba[:, j], y[:, j])
        found.append(
            {
                "name": name,
                "support": support,
                "predicted": predicted,
                "missed": support - hit,
                "invented": predicted - hit,
                "precision": hit / predicted if predicted else None,
                "recall": hit / support if support else None,
                "f1": float(f1[j]) if support or predicted else None,
                "ap": ap[j],
                "worth": float(worth[j]),
                "threshold": None if subject.thresholds is None else float(subject.thresholds[j]),
                "spread": spread.get(name),
                "share": share.get(name),
                "calibration": bins,
                "calibration_error": error,
                "curve": [round(v, 4) for v in f_curve(proba[:, j], y[:, j], evidence.rule.beta).tolist()],
                "metric_curve": None if metric is None else [round(v, 5) for v in metric[j].tolist()],
                "rivals": {e: round(values[j], 4) for e, values in rivals.items() if values[j] is not None},
                "instead": instead(j, y, pred),
            }
        )
    return found


def average_precisions(proba: np.ndarray, y: np.ndarray) -> list[float | None]:
    """Of each label; None for one without rows."""
    columns = range(y.shape[1])
    return [mean_average_precision(y[:, [j]], proba[:, [j]]) if y[:, j].any() else None for j in columns]


def worth_of_each(y: np.ndarray, pred: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) what the score would gain if this label, and it alone, was never wrong."""
    now, gains = rule.score(y, pred), np.zeros(y.shape[1])
    for j in range(y.shape[1]):
        perfect = pred.copy()
        perfect[:, j] = y[:, j]
        gains[j] = rule.score(y, perfect) - now
    return gains


def calibration(proba: np.ndarray, y: np.ndarray) -> tuple[list[list[float]], float]:
    """([mean probability, rate of the label, rows] of each tenth that has rows, mean gap between the two)."""
    tenth = np.minimum((proba * BINS).astype(int), BINS - 1)
    rows = np.bincount(tenth, minlength=BINS)
    sums = np.bincount(tenth, proba, BINS), np.bincount(tenth, y, BINS)
    has = rows > 0
    mean, rate = (total[has] / rows[has] for total in sums)
    gap = float((np.abs(mean - rate) * rows[has]).sum() / len(y))
    bins = zip(mean.tolist(), rate.tolist(), rows[has].tolist(), strict=True)
    return [[round(p, 4), round(r, 4), n] for p, r, n in bins], gap


def _above(proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows by falling probability, how many reach each threshold of GRID)."""
    order = np.argsort(-proba, kind="stable")
    return order, np.searchsorted(-proba[order], -GRID, side="right")


def f_curve(proba: np.ndarray, y: np.ndarray, beta: float) -> np.ndarray:
    """(len(GRID),) F-beta of one label at each threshold, over all rows."""
    order, above = _above(proba)
    hits = np.concatenate([[0], y[order].cumsum()])
    return f_beta(hits[above], hits[-1], above, beta)


def metric_curves(
    proba: np.ndarray, y: np.ndarray, thresholds: np.ndarray | None, rule: Rule
) -> np.ndarray | None:
    """(c, len(GRID)) the competition's score as one label's threshold moves and the others stay; None without any."""
    if thresholds is None:
        return None
    labels, pred = SortedLabels(proba, y, rule), proba >= thresholds
    size, overlap = pred.sum(1), (pred & labels.y).sum(1)
    curves = [labels.curve(pred, overlap, size, j)[_above(proba[:, j])[1]] for j in range(proba.shape[1])]
    return np.array(curves)


def instead(j: int, y: np.ndarray, pred: np.ndarray) -> dict[str, list[list[int]]]:
    """[other label, rows] that were invented where label j was missed, and missed where it was invented."""
    missed, invented = y[:, j] & ~pred[:, j], pred[:, j] & ~y[:, j]

    def most(counts: np.ndarray) -> list[list[int]]:
        best = np.argsort(-counts, kind="stable")[:TOGETHER]
        return [[int(k), int(counts[k])] for k in best if counts[k] and k != j]

    return {
        "missed": most((pred & ~y)[missed].sum(0)),
        "invented": most((y & ~pred)[invented].sum(0)),
    }


def ceilings(evidence: Evidence) -> dict[str, float]:
    """The score if one kind of error vanished, all else being equal.

    no_missed  every missed label found; no_invented: every invented one left out
    sizes      each row's number of labels known, its most probable labels taken: the rest is ranking
    """
    y, pred, rule = evidence.y.astype(bool), evidence.subject.pred, evidence.rule
    order = np.argsort(-evidence.subject.proba, axis=1, kind="stable")
    best = np.zeros_like(y)
    np.put_along_axis(best, order, np.arange(y.shape[1]) < y.sum(1)[:, None], axis=1)
    return {
        "no_missed": rule.score(y, pred | y),
        "no_invented": rule.score(y, pred & y),
        "sizes": rule.score(y, best),
    }


def best_rival(row: dict, experiments: Sequence[Scored], subject: str) -> tuple[str, float] | None:
    """(experiment, its average precision) that ranks this label best, the subject apart."""
    others = {e.name: row["rivals"].get(e.name) for e in experiments if e.name != subject}
    others = {name: value for name, value in others.items() if value is not None}
    return max(others.items(), key=lambda item: item[1]) if others else None
