"""What one experiment's out-of-fold predictions score: in sample and cross-fitted, so that optimism is seen."""

import numpy as np

from tandem.decode import Rule, binarize, cross_fit, tune_ascent
from tandem.metrics import METRICS, f1_per_label, log_loss, mean_average_precision


def score(
    proba: np.ndarray, y: np.ndarray, fold: np.ndarray, names: tuple[str, ...], rule: Rule
) -> tuple[dict, dict]:
    """(thresholds, scores) as they are written to thresholds.json and scores.json.

    Cross-fitted: thresholds tuned without fold k decode fold k, and the metric is taken over the pooled rows.
    """
    thresholds = tune_ascent(proba, y, rule)
    honest, per_fold = cross_fit(proba, y, fold, rule)
    fitted = binarize(proba, thresholds, rule)
    headline = rule.score(y, honest)
    folds = [rule.score(y[fold == k], honest[fold == k]) for k in np.unique(fold)]
    thresholds_json = {
        "decoder": "ascent",
        "metric": rule.metric,
        "beta": rule.beta,
        "least": rule.least,
        "most": rule.most,
        "thresholds": dict(zip(names, thresholds.tolist(), strict=True)),
        "spread": dict(zip(names, per_fold.std(0).tolist(), strict=True)),
    }
    scores_json = {
        "metric": rule.metric,
        "score": headline,
        "in_sample": rule.score(y, fitted),
        "optimism": rule.score(y, fitted) - headline,
        "fold_scores": folds,
        "fold_spread": float(np.std(folds)),
        **{name: metric(y, honest, rule.beta) for name, metric in METRICS.items()},
        "map": mean_average_precision(y, proba),
        "log_loss": log_loss(y, proba),
        "rows": len(y),
        "f1_per_label": dict(zip(names, f1_per_label(y, honest).tolist(), strict=True)),
    }
    return thresholds_json, scores_json
