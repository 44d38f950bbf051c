"""Section Per class: scores, threshold, calibration and terms of each label."""

from collections.abc import Sequence

import numpy as np

from tandem.artifacts.contributions import modality_shares
from tandem.decoding import Rule
from tandem.decoding.thresholds import SortedLabels
from tandem.metrics import f1_per_label, f_beta, mean_average_precision
from tandem.report.data_model import FocusExperiment, ReportData, ScoredExperiment

BINS = 10
GRID = np.round(np.linspace(0.02, 0.98, 49), 2)  # thresholds at which the curves are drawn
CONFUSED = 5  # labels listed as confused with a label


def per_class(data: ReportData, focus: FocusExperiment) -> list[dict]:
    """One dict per label, in the order of the names; an undefined figure is None."""
    rule, y, pred, proba = data.rule, data.y.astype(bool), focus.pred, focus.proba
    thresholds, spread = focus.thresholds, focus.recipe.get("spread", {})
    counts = {"support": y.sum(0), "predicted": pred.sum(0), "hit": (y & pred).sum(0)}
    f1, gain, ap = (f1_per_label(y, pred, rule.beta), gain_per_label(y, pred, rule), average_precisions(proba, y))
    share = modality_shares(data.names, focus.terms) if focus.terms is not None else {}
    metric = None if thresholds is None else metric_curves(proba, y, thresholds, rule)
    ap_of = {e.name: average_precisions(e.proba, y) for e in data.experiments}
    labels = []
    for j, name in enumerate(data.names):
        support, predicted, hit = (int(counts[key][j]) for key in ("support", "predicted", "hit"))
        bins, error = calibration(proba[:, j], y[:, j])
        labels.append(
            {
                "name": name,
                "support": support,
                "predicted": predicted,
                "false_negatives": support - hit,
                "false_positives": predicted - hit,
                "precision": hit / predicted if predicted else None,
                "recall": hit / support if support else None,
                "f1": float(f1[j]) if support or predicted else None,
                "ap": ap[j],
                "gain": float(gain[j]),
                "threshold": None if thresholds is None else float(thresholds[j]),
                "spread": spread.get(name),
                "share": share.get(name),
                "calibration": bins,
                "calibration_error": error,
                "curve": [round(v, 4) for v in f_curve(proba[:, j], y[:, j], rule.beta).tolist()],
                "metric_curve": None if metric is None else [round(v, 5) for v in metric[j].tolist()],
                "ap_by_experiment": {e: round(v, 4) for e, aps in ap_of.items() if (v := aps[j]) is not None},
                "confused": confused_labels(j, y, pred),
            }
        )
    return labels


def average_precisions(proba: np.ndarray, y: np.ndarray) -> list[float | None]:
    """One per label; None for a label without rows."""
    columns = range(y.shape[1])
    return [mean_average_precision(y[:, [j]], proba[:, [j]]) if y[:, j].any() else None for j in columns]


def gain_per_label(y: np.ndarray, pred: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) how much higher the score would be without any error on this one label."""
    now, gains = rule.score(y, pred), np.zeros(y.shape[1])
    for j in range(y.shape[1]):
        perfect = pred.copy()
        perfect[:, j] = y[:, j]
        gains[j] = rule.score(y, perfect) - now
    return gains


def calibration(proba: np.ndarray, y: np.ndarray) -> tuple[list[list[float]], float]:
    """([mean probability, rate of the label, rows] of each non-empty bin, expected calibration error)."""
    bin_of = np.minimum((proba * BINS).astype(int), BINS - 1)
    rows = np.bincount(bin_of, minlength=BINS)
    sums = np.bincount(bin_of, proba, BINS), np.bincount(bin_of, y, BINS)
    has = rows > 0
    mean, rate = (total[has] / rows[has] for total in sums)
    gap = float((np.abs(mean - rate) * rows[has]).sum() / len(y))
    bins = zip(mean.tolist(), rate.tolist(), rows[has].tolist(), strict=True)
    return [[round(p, 4), round(r, 4), n] for p, r, n in bins], gap


def _above(proba: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows by decreasing probability, number of rows at or above each threshold of GRID)."""
    order = np.argsort(-proba, kind="stable")
    return order, np.searchsorted(-proba[order], -GRID, side="right")


def f_curve(proba: np.ndarray, y: np.ndarray, beta: float) -> np.ndarray:
    """(len(GRID),) F-beta of one label at each threshold, over all rows."""
    order, above = _above(proba)
    hits = np.concatenate([[0], y[order].cumsum()])
    return f_beta(hits[above], hits[-1], above, beta)


def metric_curves(proba: np.ndarray, y: np.ndarray, thresholds: np.ndarray, rule: Rule) -> np.ndarray:
    """(c, len(GRID)) the competition's score as the threshold of one label varies and the others stay fixed."""
    labels, pred = SortedLabels(proba, y, rule), proba >= thresholds
    size, overlap = pred.sum(1), (pred & labels.y).sum(1)
    curves = [labels.curve(pred, overlap, size, j)[_above(proba[:, j])[1]] for j in range(proba.shape[1])]
    return np.array(curves)


def confused_labels(j: int, y: np.ndarray, pred: np.ndarray) -> dict[str, list[list[int]]]:
    """[other label, rows]: its false positives on rows where j is a false negative, and the other way round."""
    false_negative, false_positive = y[:, j] & ~pred[:, j], pred[:, j] & ~y[:, j]

    def most_frequent(counts: np.ndarray) -> list[list[int]]:
        best = np.argsort(-counts, kind="stable")[:CONFUSED]
        return [[int(k), int(counts[k])] for k in best if counts[k] and k != j]

    return {
        "false_positives": most_frequent((pred & ~y)[false_negative].sum(0)),
        "false_negatives": most_frequent((y & ~pred)[false_positive].sum(0)),
    }


def upper_bounds(data: ReportData, focus: FocusExperiment) -> dict[str, float]:
    """The score if one kind of error was removed and everything else stayed the same.

    no_false_negatives, no_false_positives
    known_counts  every row gets its most probable labels, as many as it has; the remaining errors are of ranking
    """
    y, pred, rule = data.y.astype(bool), focus.pred, data.rule
    order = np.argsort(-focus.proba, axis=1, kind="stable")
    best = np.zeros_like(y)
    np.put_along_axis(best, order, np.arange(y.shape[1]) < y.sum(1)[:, None], axis=1)
    return {
        "no_false_negatives": rule.score(y, pred | y),
        "no_false_positives": rule.score(y, pred & y),
        "known_counts": rule.score(y, best),
    }


def best_other(row: dict, experiments: Sequence[ScoredExperiment], focus: str) -> tuple[str, float] | None:
    """(name, average precision) of the experiment with the highest on this label, except `focus`."""
    others = {e.name: row["ap_by_experiment"].get(e.name) for e in experiments if e.name != focus}
    known = {name: value for name, value in others.items() if value is not None}
    return max(known.items(), key=lambda item: item[1]) if known else None
