"""The labels to look at again: likely label errors and the worst mistakes, each a question about one label of a row."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tandem.report.data_model import FocusExperiment, ReportData
from tandem.report.label_errors import likely_errors
from tandem.report.mistakes import mistakes

MOST = 2000  # questions


@dataclass(frozen=True)
class Question:
    """Is the label `label` of the training row `row` right? Both are positions."""

    row: int
    label: int
    suspected_by: str


def questions(data: ReportData, focus: FocusExperiment) -> list[Question]:
    """Likely label errors, the least probable first, then wrong labels of the worst rows; those of one row together."""
    found: dict[tuple[int, int], Question] = {}
    for row, label, by in (*_suspects(data, focus), *_mistakes(data, focus)):
        found.setdefault((row, label), Question(row, label, by))
    by_row: dict[int, list[Question]] = {}
    for question in found.values():
        by_row.setdefault(question.row, []).append(question)
    return [question for own in by_row.values() for question in own][:MOST]


def _suspects(data: ReportData, focus: FocusExperiment) -> Iterator[tuple[int, int, str]]:
    if np.ptp(data.y, axis=0).any():  # confident learning needs a label that some rows have and others lack
        for row, label in likely_errors(data.y, focus.proba, data.known).tolist():
            yield row, label, f"label errors of {focus.name}"


def _mistakes(data: ReportData, focus: FocusExperiment) -> Iterator[tuple[int, int, str]]:
    for row in mistakes(data, focus):
        for cell in row["wrong"]:
            yield row["row"], cell["label"], f"mistakes of {focus.name}"
