"""Advice about the test set: rates and inputs that differ from training, and the local leaderboard."""

from collections.abc import Iterator

from tandem.report.advice.item import Advice
from tandem.report.data_model import FocusExperiment, ReportData


def shifts(data: ReportData, focus: FocusExperiment, drift: dict | None) -> Iterator[Advice]:
    drifting = focus.submission["drift"] if focus.submission else None
    if drifting:
        name, most = max(drifting.items(), key=lambda d: abs(d[1]["test"] - d[1]["out_of_fold"]))
        yield Advice(
            "Check the labels that are predicted at another rate on test",
            f"{len(drifting)} of {len(data.names)} labels; most {name}: {most['out_of_fold']:.1%} of the rows out of "
            f"fold, {most['test']:.1%} of the test rows",
            "decoding",
        )
    differing = next((s for s in drift["separations"] if s.drifts), None) if drift else None
    if differing:
        yield Advice(
            f"Test rows differ in: {differing.inputs}",
            f"a classifier separates train from test with AUC {differing.auc:.3f}; "
            f"without drift it is 0.5 ± {2 * differing.error:.3f}",
            "data",
        )


def leaderboard(data: ReportData, focus: FocusExperiment, error: float) -> Iterator[Advice]:
    """Out-of-fold score against the local leaderboard; `error` is half the 95 % interval of the former."""
    if not (focus.scored.local and focus.submission):
        return
    rows, score = focus.submission["rows"], focus.scores["score"]
    local = focus.scored.local[data.rule.metric]
    expected = error * (1 + len(data.y) / max(rows, 1)) ** 0.5
    if abs(local - score) > expected:
        yield Advice(
            "Find out why the local leaderboard disagrees with the folds",
            f"{local:.4f} on {rows:,} test rows, {score:.4f} out of fold; sampling error explains ±{expected:.4f}",
            "data",
        )
