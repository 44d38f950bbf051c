"""The metrics that a competition may name: what each scores, which way is better, and its name in texts and tables."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Needs = Literal["labels", "probabilities"]
OWN = re.compile(r"([A-Za-z_]\w*\.py):([A-Za-z_]\w*)")  # a function of the user's, in a file beside competition.toml


@dataclass(frozen=True)
class MetricInfo:
    """What is known of a metric without computing it."""

    title: str  # F1 stands for F-beta
    column: str  # the heading in tables
    needs: Needs = "labels"  # what it scores
    greater_is_better: bool = True


METRIC_INFO = {
    "f1_samples": MetricInfo("F1 per row", "per row"),
    "f1_micro": MetricInfo("micro F1", "micro"),
    "f1_macro": MetricInfo("macro F1", "macro"),
    "jaccard_samples": MetricInfo("Jaccard index per row", "Jaccard"),
    "accuracy_exact": MetricInfo("exact match", "exact"),
    "hamming": MetricInfo("Hamming loss", "Hamming", greater_is_better=False),
    "auc_macro": MetricInfo("mean ROC AUC of the labels", "AUC", "probabilities"),
    "map_macro": MetricInfo("mean average precision of the labels", "mAP", "probabilities"),
    "map_samples": MetricInfo("label ranking average precision", "LRAP", "probabilities"),
    "log_loss": MetricInfo("mean log loss of the labels", "log loss", "probabilities", greater_is_better=False),
}


def metric_title(metric: str, beta: float = 1.0) -> str:
    """The name in texts.

    >>> metric_title("f1_micro", 2.0), metric_title("auc_macro"), metric_title("my_metric.py:score")
    ('micro F2', 'mean ROC AUC of the labels', 'my_metric.py:score')
    """
    info = METRIC_INFO.get(metric)
    return metric if info is None else info.title.replace("F1", f"F{beta:g}")


def checked_metric(metric: str) -> str:
    """The same name; raises ValueError, with the names that exist, where it is none of a metric."""
    if metric not in METRIC_INFO and not OWN.fullmatch(metric):
        there = ", ".join(METRIC_INFO)
        raise ValueError(f"no metric has this name; expected one of {there}, or my_metric.py:FUNCTION of your own")
    return metric


def merit(scores: Mapping[str, Any]) -> float:
    """The score of a scores.json, or of one like it, with its sign turned where less is better: more is better."""
    return scores["score"] if scores.get("greater_is_better", True) else -scores["score"]
