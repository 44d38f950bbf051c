"""Section Per class: scores, threshold, calibration and terms of each label."""

from typing import Any

import numpy as np

from tandem.artifacts.contributions import modality_shares
from tandem.decoding import Rule
from tandem.decoding.thresholds import SortedLabels
from tandem.metrics import f1_per_label, mean_average_precision
from tandem.report.data_model import FocusExperiment, ReportData

BINS = 10
GRID = np.round(np.linspace(0.02, 0.98, 49), 2)  # thresholds of the curves and of the slider
CONFUSED = 5  # labels listed as confused with a label
DETAILED = 4_000  # labels x experiments, up to which the page has the figures of every experiment for every label


def per_class(data: ReportData, focus: FocusExperiment) -> list[dict]:
    """One dict per label, in the order of the names; an undefined figure is None."""
    rule, y, pred, known = data.rule.sets, data.y.astype(bool), data.counted(focus.pred), data.known
    proba = focus.proba if known is None else np.where(known, focus.proba, 0)
    thresholds, spread = focus.thresholds, focus.recipe.get("spread", {})
    counts = np.column_stack([y.sum(0), pred.sum(0), (y & pred).sum(0)]).tolist()
    f1 = f1_per_label(y, pred, rule.beta, rule.zero_division)
    gain, ap = gain_per_label(y, pred, rule), average_precisions(proba, y, known)
    share = modality_shares(data.names, focus.terms) if focus.terms is not None else {}
    metric = None if thresholds is None else metric_curves(proba, y, thresholds, data.rule)
    ap_of = {e.name: average_precisions(e.proba, y, known) for e in data.experiments}
    labels = []
    for j, name in enumerate(data.names):
        support, predicted, hit = counts[j]
        rows = slice(None) if known is None else known[:, j]
        p, truth = proba[rows, j], y[rows, j]
        bins, error = calibration(p, truth)
        labels.append(
            {
                "name": name,
                "support": support,
                "unknown": int(data.unknown[j]),
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
                "counts": threshold_counts(p, truth),
                "tuned_predicted": None if thresholds is None else int((p >= thresholds[j]).sum()),
                "metric_curve": None if metric is None else [round(v, 5) for v in metric[j].tolist()],
                "ap_by_experiment": {e: round(v, 4) for e, aps in ap_of.items() if (v := aps[j]) is not None},
                "confused": confused_labels(j, y, pred),
            }
        )
    return labels


def average_precisions(proba: np.ndarray, y: np.ndarray, known: np.ndarray | None = None) -> list[float | None]:
    """One per label, over the rows where it is known; None for a label without rows."""
    if known is not None:
        own = zip(y.T, proba.T, known.T, strict=True)
        return [average_precisions(p[rows, None], t[rows, None])[0] for t, p, rows in own]
    columns = zip(y.T, proba.T, strict=True)
    return [mean_average_precision(t[:, None], p[:, None]) if t.any() else None for t, p in columns]


def gain_per_label(y: np.ndarray, pred: np.ndarray, rule: Rule) -> np.ndarray:
    """(c,) how much better the score would be without any error on this one label."""
    now, label = rule.merit(y, pred), np.arange(y.shape[1])
    return np.array([rule.merit(y, np.where(label == j, y, pred)) - now for j in label])


def calibration(proba: np.ndarray, y: np.ndarray) -> tuple[list[list[float]], float]:
    """([mean probability, rate of the label, rows] of each non-empty bin, expected calibration error)."""
    bin_of = np.minimum((proba * BINS).astype(int), BINS - 1)
    filled = np.unique(bin_of)
    rows, mean, rate = (np.bincount(bin_of, values, BINS)[filled] for values in (None, proba, y))
    mean, rate = mean / rows, rate / rows
    gap = float((np.abs(mean - rate) * rows).sum() / len(y))
    bins = zip(mean.tolist(), rate.tolist(), rows.tolist(), strict=True)
    return [[round(p, 4), round(r, 4), n] for p, r, n in bins], gap


def threshold_counts(proba: np.ndarray, y: np.ndarray) -> dict[str, list[int]]:
    """At each threshold of GRID how many rows get one label, and how many of these have it."""

    def at_least(values: np.ndarray) -> list[int]:
        return (len(values) - np.searchsorted(np.sort(values), GRID)).tolist()

    return {"predicted": at_least(proba), "hits": at_least(proba[y.astype(bool)])}


def metric_curves(proba: np.ndarray, y: np.ndarray, thresholds: np.ndarray, rule: Rule) -> np.ndarray:
    """(c, len(GRID)) the score that thresholds are tuned for as that of one label varies and the others stay fixed."""
    rule = rule.tuned
    labels, pred = SortedLabels(proba, y, rule), proba >= thresholds
    size, overlap = pred.sum(1), (pred & labels.y).sum(1)
    above = [(p[:, None] >= GRID).sum(0) for p in proba.T]
    merits = np.array([labels.curve(pred, overlap, size, j)[rows] for j, rows in enumerate(above)])
    return merits if rule.judge.greater_is_better else 1 - merits


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
    """The score of label sets if one kind of error was removed and everything else stayed the same; with `known_counts`
    every row gets its most probable labels, as many as it has: the remaining errors are of ranking. `perfect` is the
    score without any error, below 1 where a row or label without labels counts as 0."""
    y, pred, rule = data.y.astype(bool), data.counted(focus.pred), data.rule.sets
    proba = focus.proba if data.known is None else np.where(data.known, focus.proba, -1)
    order = np.argsort(-proba, axis=1, kind="stable")
    best = np.zeros_like(y)
    np.put_along_axis(best, order, np.arange(y.shape[1]) < y.sum(1)[:, None], axis=1)
    return {
        "no_false_negatives": rule.score(y, pred | y),
        "no_false_positives": rule.score(y, pred & y),
        "known_counts": rule.score(y, best),
        "perfect": rule.score(y, y),
    }


def class_payload(data: ReportData, classes: list[dict], by_label: dict | None) -> dict[str, Any]:
    """What the page's script draws a label from; with many labels of many experiments those of the best one only."""
    names = list(dict.fromkeys(name for row in classes for name in row["ap_by_experiment"]))
    short = len(names) * len(classes) > DETAILED
    labels = []
    for j, row in enumerate(classes):
        kept = {key: value for key, value in row.items() if key not in ("ap_by_experiment", "share", "unknown")}
        kept["ap_of"] = [] if short else [row["ap_by_experiment"].get(name) for name in names]
        if by_label and not short:
            one = by_label["rows"][j]
            kept["f_of"] = [round(f, 3) for f in one["f"]]
            kept["gains"] = [[round(v, 3) for v in (g.gain, g.low, g.high)] for g in one["gains"]]
        labels.append(kept)
    about = {"beta": data.rule.beta, "zero_division": data.rule.zero_division, "rows": len(data.y)}
    about["greater_is_better"] = data.rule.tuned.judge.greater_is_better  # of the metric that thresholds are tuned for
    compared = by_label["names"] if by_label else []
    return {"classes": labels, "ap_names": names, "compared": compared, "rule": about}
