"""What an experiment's out-of-fold predictions score with every decoder: in sample, cross-fitted, with intervals."""

import numpy as np

from tandem.decoding import DECODERS, CrossFit, Rule, standing
from tandem.metrics import METRICS, f1_per_label, log_loss, mean_average_precision


def score(
    proba: np.ndarray, y: np.ndarray, fold: np.ndarray, names: tuple[str, ...], rule: Rule, threads: int = 1
) -> tuple[dict, dict]:
    """(decoder, scores) as they are written to thresholds.json and scores.json.

    Cross-fitted: a decoder chosen and tuned without fold k decodes fold k; the metric is taken over the pooled rows.
    """
    fits = CrossFit(proba, y, fold, rule, threads).prepare()
    decoder, honest = fits.decoder("auto"), fits.cross_fitted("auto")
    headline, in_sample = fits.score("auto"), rule.score(y, decoder(proba))
    folds = [rule.score(y[fold == k], honest[fold == k]) for k in fits.folds]
    decoder_json = decoder.to_json(names)
    if decoder.thresholds is not None:
        per_fold = [fits.decoder(decoder.name, frozenset({k})).thresholds for k in fits.folds]
        decoder_json["spread"] = dict(zip(names, np.std(per_fold, 0).tolist(), strict=True))
    scores_json = {
        "metric": rule.metric,
        "score": headline,
        "in_sample": in_sample,
        "optimism": in_sample - headline,
        "fold_scores": folds,
        "fold_spread": float(np.std(folds)),
        **{name: metric(y, honest, rule.beta) for name, metric in METRICS.items()},
        "map": mean_average_precision(y, proba),
        "log_loss": log_loss(y, proba),
        "rows": len(y),
        "decoder": decoder.name,
        "standing": standing(rule.metric),
        "decoders": {name: _decoder(fits, name) for name in DECODERS},
        "labels_per_row": float(honest.sum(1).mean()),
        "predicted_rate": dict(zip(names, honest.mean(0).tolist(), strict=True)),
        "f1_per_label": dict(zip(names, f1_per_label(y, honest).tolist(), strict=True)),
    }
    return decoder_json, scores_json


def _decoder(fits: CrossFit, name: str) -> dict:
    decoder, cross_fitted = fits.decoder(name), fits.score(name)
    in_sample = fits.rule.score(fits.y, decoder(fits.proba))
    gain, low, high = fits.gain(name)
    return {
        "score": cross_fitted,
        "in_sample": in_sample,
        "optimism": in_sample - cross_fitted,
        "gain": gain,
        "low": low,
        "high": high,
    }
