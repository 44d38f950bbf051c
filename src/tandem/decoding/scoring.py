"""Scores of an experiment's out-of-fold predictions with every decoder: in sample, cross-fitted, with intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tandem.decoding import DECODERS, NestedCV, Rule, default_decoder
from tandem.metrics import METRICS, f1_per_label, log_loss, mean_average_precision


@dataclass(frozen=True)
class RowsApart:
    """Rows without a caption, which are scored once more by themselves."""

    rows: np.ndarray  # (n,) bool
    cv: NestedCV | None = None  # of the predictions without captions: its decoders decode these rows


def score(
    proba: np.ndarray,
    y: np.ndarray,
    fold: np.ndarray,
    names: tuple[str, ...],
    rule: Rule,
    threads: int = 1,
    group: np.ndarray | None = None,
    apart: RowsApart | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(decoder, scores) as they are written to thresholds.json and scores.json.

    Cross-fitted: a decoder chosen and tuned without fold k decodes fold k; the metric is taken over the pooled rows.
    Rows of one `group` (n,) count as one draw in the intervals. The rows `apart` are decoded as a submission decodes
    them; the table of all decoders and the choice between them use one decoder for all rows.
    """
    cv = NestedCV(proba, y, fold, rule, threads, group).prepare()
    decoder, pred, tuned_on = cv.decoder("auto"), cross_val_predict(cv, apart), cv.decoder("auto")(proba)
    if apart is not None and apart.cv is not None:
        tuned_on[apart.rows] = apart.cv.decoder("auto")(apart.cv.proba[apart.rows])
    cross_fitted, in_sample = rule.score(y, pred), rule.score(y, tuned_on)
    fold_scores = [rule.score(y[fold == k], pred[fold == k]) for k in np.unique(fold)]
    decoder_json = decoder.to_json(names)
    if decoder.thresholds is not None:
        without_each = np.array([cv.decoder(decoder.name, block).thresholds for block in cv.blocks])
        decoder_json["spread"] = dict(zip(names, _deviation(without_each).tolist(), strict=True))
    scores_json = {
        "metric": rule.metric,
        "score": cross_fitted,
        "in_sample": in_sample,
        "optimism": in_sample - cross_fitted,
        "fold_scores": fold_scores,
        "fold_spread": float(_deviation(np.array(fold_scores))),
        **{name: metric(y, pred, rule.beta, rule.zero_division) for name, metric in METRICS.items()},
        "map": mean_average_precision(y, proba),
        "log_loss": log_loss(y, proba),
        "rows": len(y),
        "groups": len(y) if group is None else len(np.unique(group)),
        "decoder": decoder.name,
        "default_decoder": default_decoder(rule.metric),
        "decoders": {name: _score_decoder(cv, name) for name in DECODERS},
        "labels_per_row": float(pred.sum(1).mean()),
        "predicted_rate": dict(zip(names, pred.mean(0).tolist(), strict=True)),
        "f1_per_label": dict(zip(names, f1_per_label(y, pred, rule.beta, rule.zero_division).tolist(), strict=True)),
    }
    if apart is not None:
        scores_json["rows_without_caption"] = _score_rows(y[apart.rows], pred[apart.rows], rule)
    return decoder_json, scores_json


def cross_val_predict(cv: NestedCV, apart: RowsApart | None) -> np.ndarray:
    """(n, c) bool: each fold decoded by the decoder that is chosen without it."""
    pred = cv.cross_val_predict("auto").copy()
    if apart is not None and apart.cv is not None:
        pred[apart.rows] = apart.cv.cross_val_predict("auto")[apart.rows]
    return pred


def _score_rows(y: np.ndarray, pred: np.ndarray, rule: Rule) -> dict[str, Any]:
    found = {name: metric(y, pred, rule.beta, rule.zero_division) for name, metric in METRICS.items()}
    return {"rows": len(y), "score": rule.score(y, pred), **found}


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, with n - 1; 0 for one value."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])


def _score_decoder(cv: NestedCV, name: str) -> dict[str, float]:
    cross_fitted = cv.score(name)
    in_sample = cv.rule.score(cv.y, cv.decoder(name)(cv.proba))
    values = (cross_fitted, in_sample, in_sample - cross_fitted, *cv.gain(name))
    return dict(zip(("score", "in_sample", "optimism", "gain", "low", "high"), values, strict=True))
