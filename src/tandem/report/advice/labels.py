"""Advice about labels: the costliest ones, the balance of the errors, likely label errors."""

from collections.abc import Iterator

import numpy as np

from tandem.artifacts.term_names import TERM_NAMES
from tandem.report.advice.item import Advice
from tandem.report.classes import best_other
from tandem.report.data_model import FocusExperiment, ReportData

LABELS = 3  # labels with advice of their own
RANKED_BETTER = 0.02  # margin in average precision of another experiment
DOMINANT = 0.6  # share of one term in the movement of a logit
UNBALANCED = 1.5  # ratio of the losses by the two kinds of errors
NOISY = 0.01  # suspected errors, as a share of the given labels


def weak_labels(data: ReportData, focus: FocusExperiment, classes: list[dict]) -> Iterator[Advice]:
    """The labels whose errors cost most."""
    for row in sorted(classes, key=lambda row: -row["gain"])[:LABELS]:
        if row["gain"] <= 0:
            continue
        negatives, positives = row["false_negatives"], row["false_positives"]
        kind = "false negatives" if negatives >= positives else "false positives"
        why = (
            f"{negatives:,} false negatives and {positives:,} false positives, {row['support']:,} rows have it "
            f"(F1 {row['f1']:.3f}); without these errors the score would be {row['gain']:.4f} higher"
        )
        other = best_other(row, data.experiments, focus.name)
        if other and row["ap"] is not None and other[1] > row["ap"] + RANKED_BETTER:
            why += f"; {other[0]} alone ranks it better, average precision {other[1]:.3f} against {row['ap']:.3f}"
        elif row["share"] and max(row["share"].values()) > DOMINANT:
            term = max(row["share"], key=row["share"].get)
            why += f"; the term {TERM_NAMES[term]} has a share of {row['share'][term]:.0%} in its logit"
        title = f"Look at the {kind} of label {row['name']}"
        yield Advice(title, why, "mistakes", row["gain"], label=row["name"])


def error_balance(data: ReportData, focus: FocusExperiment, bounds: dict[str, float]) -> Iterator[Advice]:
    """Which kind of error costs more, and whether it is the number of labels or their ranking."""
    y, pred, score = data.y, focus.pred, data.rule.score(data.y, focus.pred)
    negative, positive = (bounds[key] - score for key in ("no_false_negatives", "no_false_positives"))
    if negative > UNBALANCED * positive or positive > UNBALANCED * negative:
        more, less = "false negatives", "false positives"
        if positive >= negative:
            more, less = less, more
        yield Advice(
            f"The {more} cost more than the {less}",
            f"without {more} the score would be {max(negative, positive):.4f} higher, without {less} "
            f"{min(negative, positive):.4f}; a row has {y.sum(1).mean():.2f} labels, {pred.sum(1).mean():.2f} are "
            "predicted",
            "classes",
        )
    counting, ranking = bounds["known_counts"] - score, 1 - bounds["known_counts"]
    if counting > 0:
        what = "ranking (models)" if ranking > counting else "decoding (thresholds, calibration)"
        yield Advice(
            f"Largest potential gain: better {what}",
            f"if the number of labels of each row was known and the most probable ones were predicted, the score would "
            f"be {bounds['known_counts']:.4f} ({counting:+.4f}); the remaining {ranking:.4f} are errors of ranking",
            "decoding" if counting >= ranking else "experiments",
        )


def wrong_labels(data: ReportData, errors: dict) -> Iterator[Advice]:
    given = int(data.y.sum())
    if errors["cells"] > NOISY * given:
        worst = int(np.argmax(errors["by_label"]))
        yield Advice(
            "Review the likely label errors",
            f"{errors['cells']:,} on {errors['rows']:,} rows ({errors['remove']:,} given labels that may be wrong, "
            f"{errors['add']:,} that may be missing), against {given:,} given labels; most on label "
            f"{data.names[worst]} ({errors['by_label'][worst]:,})",
            "label_errors",
        )
