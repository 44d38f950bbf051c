"""The submission file: writing it, validating it, and local scores against known test labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tandem.artifacts.user_files import is_there
from tandem.config.competition import Competition
from tandem.config.questions import Question
from tandem.data.competition_tables import read_one, read_test
from tandem.data.csv_reader import Table, read_table
from tandem.data.label_codec import encode, raise_first
from tandem.data.long_labels import label_cells
from tandem.data.submission_form import SubmissionForm, as_written, own_form, sample_kind
from tandem.data.submission_form import preview as preview
from tandem.decoding import Rule
from tandem.metrics import METRICS

LOCAL = ("f1_samples", "f1_micro", "f1_macro")  # scored against a solution besides the competition's metric


@dataclass(frozen=True)
class ExpectedRows:
    """The rows that a submission must have, and how they are written."""

    form: SubmissionForm
    ids: list[str]  # in order
    source: str  # name of the file that says so
    pairs: Sequence[tuple[str, str]] = ()  # (id, label) of each row of a long one


def submission_columns(competition: Competition, sample: Sequence[str] = ()) -> list[str]:
    """The header: that of the `sample` submission (ValueError unless id and labels), else that of the training rows."""
    if not sample:
        return list(own_form(competition).columns)
    form = sample_kind(Table(tuple(sample), [], []), competition)
    assert isinstance(form, SubmissionForm), "without rows there are no fractions"
    return list(form.columns)


def sample_form(table: Table, competition: Competition) -> SubmissionForm:
    """`sample_kind`; raises ValueError with the question where it is one."""
    found = sample_kind(table, competition)
    if isinstance(found, Question):
        raise ValueError(f"question: {found.about}; {found.key} = one of {', '.join(found.candidates)}")
    return found


def submission_form(competition: Competition, folder: Path) -> SubmissionForm:
    """As the sample submission is written, where there is one; a bundle has none. Raises ValueError as
    `expected_rows`."""
    there = is_there(folder / competition.sample_submission)
    return expected_rows(competition, folder).form if there else own_form(competition)


def expected_rows(competition: Competition, folder: Path) -> ExpectedRows:
    """As the sample submission says, else the test file; raises ValueError where the sample fits neither the labels nor
    the metric."""
    sample = folder / competition.sample_submission
    if not is_there(sample):
        # a test table may have several caption rows an image
        ids = list(dict.fromkeys(read_test(competition, folder).column(competition.id)))
        return ExpectedRows(own_form(competition), ids, competition.table_files("test")[0])
    table = read_one(sample, competition.encoding)
    try:
        form = sample_form(table, competition)
        if set(form.columns) != set(table.columns):  # not written as the sample is
            return ExpectedRows(form, table.column(competition.id), sample.name)
        pairs = form.pairs(table) if form.layout == "long" else ()
        return ExpectedRows(as_written(sample, form), form.ids(table), sample.name, pairs)
    except ValueError as error:
        raise ValueError(f"{sample}: {error}") from error


def validate_submission(path: Path, competition: Competition, expected: ExpectedRows) -> None:
    """Raises ValueError unless header, ids, labels, values and numbers of labels are as expected."""
    table, form, wanted = read_table(path), expected.form, expected.ids
    if list(table.columns) != list(form.columns):
        raise ValueError(f"{path}: header is {list(table.columns)}, expected {list(form.columns)}")
    try:
        ids, values = form.parse(table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    n_cells = len(wanted) * len(form.names)
    written: Sequence[object] = ids
    rows: Sequence[object] = wanted
    if form.layout == "long":
        written = form.pairs(table)
        rows = expected.pairs or [(id, name) for id in wanted for name in form.names]
    if len(written) != len(rows):
        raise ValueError(f"{path}: {len(written)} rows, expected {len(rows)}")
    for row, (own, other) in enumerate(zip(written, rows, strict=True), 1):
        if own != other:
            raise ValueError(f"{path}: row {row} is {own!r}, expected {other!r}: wrong order or id")
    if form.values == "probabilities":
        return
    n_labels = values.sum(1)
    odd = np.flatnonzero((n_labels < competition.least) | (n_labels > competition.most))
    if len(odd) and (not expected.pairs or len(expected.pairs) == n_cells):
        row, limits = odd[0], f"expected {competition.least} to {competition.most}"
        raise ValueError(f"{path}: row {row + 1} ({ids[row]}) has {n_labels[row]} labels; {limits}")


def parse_solution(
    competition: Competition, form: SubmissionForm, table: Table
) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """(ids, y (n, c) uint8, known (n, c) bool or None) of a solution in the form of the submission or of the training
    rows; raises ValueError naming the row and the problem."""
    columns = SubmissionForm("columns", "flags", (competition.id, *form.names), competition.id, form.names)
    if form.layout != "columns" and set(form.columns) <= set(table.columns):
        form = replace(form, values="flags" if form.layout == "long" else "labels")
        return *form.parse(table), None
    if set(columns.columns) <= set(table.columns) and competition.labels.format != "columns":
        return *columns.parse(table), None
    return parse_labels(competition, table)


def parse_labels(competition: Competition, table: Table) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """(ids, y, known) of labels in the format of the training rows; raises ValueError as `parse_solution`."""
    table, cells = label_cells(table, competition.id, competition.labels)
    y, known, issues = encode(competition.labels, cells)
    raise_first(issues)
    return table.column(competition.id), y, known


def local_scores(
    competition: Competition, folder: Path, expected: ExpectedRows, pred: np.ndarray, proba: np.ndarray
) -> dict[str, float] | None:
    """The competition's metric and those of LOCAL of what is written, against `solution.csv`; None without that file.

    A metric that scores probabilities scores 0 and 1 where these are written.
    """
    if (solution := read_solution(competition, folder, expected)) is None:
        return None
    (y, known), rule = solution, Rule.of(competition, folder)
    scores = {name: METRICS[name](y, pred, rule.beta, rule.zero_division, known) for name in LOCAL}
    written = proba if expected.form.values == "probabilities" else pred.astype(float)
    return scores | {rule.metric: rule.score(y, pred if rule.judge.needs == "labels" else written, known)}


def read_solution(
    competition: Competition, folder: Path, expected: ExpectedRows
) -> tuple[np.ndarray, np.ndarray | None] | None:
    """(y (n, c), known (n, c) or None) of the expected rows from `solution.csv`; None without that file."""
    path = folder / competition.solution
    if not is_there(path):
        return None
    try:
        solution_ids, y, known = parse_solution(competition, expected.form, read_one(path, competition.encoding))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    row = {id: i for i, id in enumerate(solution_ids)}
    missing = [id for id in expected.ids if id not in row]
    if missing:
        raise ValueError(f"{path}: {len(missing)} test ids have no solution, first: {missing[0]}")
    at = [row[id] for id in expected.ids]
    return y[at], None if known is None else known[at]


def detect_drift(
    out_of_fold: dict[str, float], test: dict[str, float], rows: int, test_rows: int
) -> dict[str, dict[str, float]]:
    """Labels of {label: rate} whose rates differ by more than chance: 4 standard errors, and a tenth of the rate.

    rows  number of independent training rows: near-duplicates count once
    """
    drifted = {}
    for name, rate in out_of_fold.items():
        mean = (rate * rows + test[name] * test_rows) / (rows + test_rows)
        error = (mean * (1 - mean) * (1 / rows + 1 / test_rows)) ** 0.5
        if abs(test[name] - rate) > max(4 * error, 0.1 * rate):
            drifted[name] = {"out_of_fold": rate, "test": test[name]}
    return drifted
