"""Scores of an experiment's out-of-fold predictions with every decoder: in sample, cross-fitted, with intervals."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from tandem.decoding.decoder import DECODERS, about, default_decoder
from tandem.decoding.label_rule import Rule
from tandem.decoding.nested_cv import NestedCV
from tandem.decoding.score_interval import half_width
from tandem.metrics import METRICS, f1_per_label, log_loss, mean_average_precision, one_class

F_SCORES = ("f1_samples", "f1_micro", "f1_macro")


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
    known: np.ndarray | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(decoder, scores) as they are written to thresholds.json and scores.json.

    Cross-fitted: a decoder chosen and tuned without fold k decodes fold k; the metric is taken over the pooled rows.
    Rows of one `group` (n,) count as one draw in the intervals. The rows `apart` are decoded as a submission decodes
    them; the table of all decoders and the choice between them use one decoder for all rows. A metric that scores
    probabilities takes them out of fold; the decoders are then scored by macro F1, see `Rule.sets`.
    """
    cv = NestedCV(proba, y, fold, rule, threads, group, known).prepare()
    pred, values = cross_val_predict(cv, apart), cross_val_values(cv, apart)
    cross_fitted, in_sample = rule.score(y, values, known), rule.score(y, in_sample_values(cv, apart), known)
    of_folds = _fold_scores(rule, y, values, fold, known)
    if not np.isfinite(cross_fitted):
        raise ValueError(f"no score by {rule.metric}: each label has rows of one kind only")
    half = half_width(rule, y, values, group, known)
    scores_json = {
        "metric": rule.metric,
        "greater_is_better": rule.judge.greater_is_better,
        "score": cross_fitted,
        "half_width": half if np.isfinite(half) else None,  # of the 95 % interval
        "in_sample": in_sample,
        "optimism": _more(rule, in_sample, cross_fitted),
        "fold_scores": of_folds,
        "fold_spread": float(_deviation(np.array([one for one in of_folds if one is not None]))),
        **_f_scores(y, pred, rule, known),
        "map": mean_average_precision(y, proba, known),
        "log_loss": log_loss(y, proba, known),
        rule.metric: cross_fitted,
        "rows": len(y),
        "groups": len(y) if group is None else len(np.unique(group)),
        **_fitted_rows(cv),
        **_decoder_scores(cv),
        "labels_per_row": float(pred.sum(1).mean()),
        "predicted_rate": dict(zip(names, pred.mean(0).tolist(), strict=True)),
        "f1_per_label": dict(
            zip(names, f1_per_label(y, pred, rule.beta, rule.zero_division, known).tolist(), strict=True)
        ),
    }
    if rule.metric == "auc_macro":
        scores_json["left_out"] = [names[j] for j in np.flatnonzero(one_class(y, known))]
    if apart is not None:
        few = apart.rows
        found = {"rows": int(few.sum()), "score": _score_or_none(rule, y[few], values[few], _rows(known, few))}
        scores_json["rows_without_caption"] = found | _f_scores(y[few], pred[few], rule, _rows(known, few))
    return recipe(cv, names), scores_json


def _decoder_scores(cv: NestedCV) -> dict[str, Any]:
    return {
        "decoder": cv.decoder("auto").name,
        "default_decoder": default_decoder(cv.rule.metric),
        "decoders_for": cv.rule.sets.metric,
        "decoders": {name: _score_decoder(cv, name) for name in DECODERS},
        "thresholds": score_thresholds(cv),
    }


def _fitted_rows(cv: NestedCV) -> dict[str, int]:
    """How many of the rows were fitted on, where not all were."""
    return {} if cv.fitted.all() else {"fitted_rows": int(cv.fitted.sum())}


def recipe(cv: NestedCV, names: tuple[str, ...]) -> dict[str, Any]:
    """What thresholds.json holds: the decoder in use, the tuned thresholds whatever is in use, and all decoders."""
    decoder, tuned = cv.decoder("auto"), cv.decoder(cv.choose_thresholds())
    assert tuned.thresholds is not None
    without_each = np.array([cv.decoder(tuned.name, block).thresholds for block in cv.blocks])
    return {
        "decoder": decoder.name,
        **_fitted_rows(cv),
        "about": about(decoder.name, cv.rule),
        "labels": list(names),
        **cv.rule.settings(),
        "thresholds": dict(zip(names, tuned.thresholds.tolist(), strict=True)),
        "spread": dict(zip(names, _deviation(without_each).tolist(), strict=True)),
        "thresholds_by": tuned.name,
        "thresholds_for": cv.rule.tuned.metric,
        "thresholds_score": cv.score(tuned.name),
        "calibration": asdict(cv.calibration()),
        "decoders": {name: cv.decoder(name).parameters(names) for name in DECODERS},
    }


def score_thresholds(cv: NestedCV) -> dict[str, Any]:
    """The score of the tuned thresholds by `Rule.sets`, that of the decoder in use, and the paired gain over it: all
    cross-fitted, as in the table of decoders, without the cost of choosing one."""
    used, tuned = cv.decoder("auto").name, cv.choose_thresholds()
    gain = dict(zip(("gain", "low", "high"), cv.gain(tuned, over=used), strict=True))
    names = {"by": tuned, "for": cv.rule.tuned.metric, "metric": cv.rule.sets.metric, "over": used}
    return names | {"over_score": cv.score(used)} | _score_decoder(cv, tuned) | gain


def cross_val_predict(cv: NestedCV, apart: RowsApart | None) -> np.ndarray:
    """(n, c) bool: each fold decoded by the decoder that is chosen without it."""
    pred = cv.cross_val_predict("auto").copy()
    if apart is not None and apart.cv is not None:
        pred[apart.rows] = apart.cv.cross_val_predict("auto")[apart.rows]
    return pred


def cross_val_values(cv: NestedCV, apart: RowsApart | None) -> np.ndarray:
    """(n, c) what the metric scores: `cross_val_predict`, or probabilities."""
    values = cv.cross_val_values().copy()
    if apart is not None and apart.cv is not None:
        values[apart.rows] = apart.cv.cross_val_values()[apart.rows]
    return values


def in_sample_values(cv: NestedCV, apart: RowsApart | None) -> np.ndarray:
    """(n, c) what the metric scores, by what is fitted on all rows, these included."""

    def of(one: NestedCV) -> np.ndarray:
        if one.rule.judge.needs == "labels":
            return one.decoder("auto")(one.proba)
        return one.calibration()(one.proba) if one.rule.metric == "log_loss" else one.proba.copy()

    values = of(cv)
    if apart is not None and apart.cv is not None:
        values[apart.rows] = of(apart.cv)[apart.rows]
    return values


def _f_scores(y: np.ndarray, pred: np.ndarray, rule: Rule, known: np.ndarray | None) -> dict[str, float]:
    return {name: METRICS[name](y, pred, rule.beta, rule.zero_division, known) for name in F_SCORES}


def _fold_scores(
    rule: Rule, y: np.ndarray, values: np.ndarray, fold: np.ndarray, known: np.ndarray | None
) -> list[float | None]:
    of_each = (fold == k for k in np.unique(fold))
    return [_score_or_none(rule, y[rows], values[rows], _rows(known, rows)) for rows in of_each]


def _score_or_none(rule: Rule, y: np.ndarray, values: np.ndarray, known: np.ndarray | None) -> float | None:
    """None where so few rows have no score, such as ROC AUC where each label has one class."""
    try:
        found = rule.score(y, values, known)
    except ValueError:  # a metric of the user's
        return None
    return found if np.isfinite(found) else None


def _rows(known: np.ndarray | None, rows: np.ndarray) -> np.ndarray | None:
    return None if known is None else known[rows]


def _more(rule: Rule, score: float, than: float) -> float:
    """How much better one score is than another."""
    return score - than if rule.judge.greater_is_better else than - score


def _deviation(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the first axis, with n - 1; 0 for one value."""
    return values.std(0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1:])


def _score_decoder(cv: NestedCV, name: str) -> dict[str, float]:
    sets, cross_fitted = cv.rule.sets, cv.score(name)
    in_sample = sets.score(cv.y, cv.decoder(name)(cv.proba), cv.known)
    values = (cross_fitted, in_sample, _more(sets, in_sample, cross_fitted), *cv.gain(name))
    return dict(zip(("score", "in_sample", "optimism", "gain", "low", "high"), values, strict=True))
