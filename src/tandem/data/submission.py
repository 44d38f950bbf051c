"""The submission file: writing it, validating it, and local scores against known test labels."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import csv_text
from tandem.config.competition import Competition
from tandem.data.competition_tables import read_one, read_test
from tandem.data.csv_reader import Table, read_table
from tandem.data.label_codec import decode, encode, raise_first
from tandem.data.long_labels import label_cells
from tandem.metrics import METRICS

ONE_CELL = ("separated", "list")  # formats with all labels of a row in one column


def submission_columns(competition: Competition, sample: Sequence[str] = ()) -> list[str]:
    """The header: that of the `sample` submission (ValueError unless id and labels), else that of the training rows."""
    labels = competition.labels
    own = [competition.id, *(labels.names if labels.format == "long" else labels.table_columns)]
    if not sample:
        return own
    two = labels.format in ONE_CELL and len(sample) == 2 and competition.id in sample
    if not two and sorted(sample) != sorted(own):
        raise ValueError(f"its columns are {preview(sample)}; expected {preview(own)}")
    return list(sample)


def preview(names: Sequence[str]) -> str:
    """The first four names, and how many there are if more."""
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")


def with_label_column(competition: Competition, columns: Sequence[str]) -> Competition:
    """The competition with its column of labels named as in these columns of a submission."""
    if competition.labels.format not in ONE_CELL:
        return competition
    (column,) = (name for name in columns if name != competition.id)
    return competition.model_copy(update={"labels": competition.labels.model_copy(update={"column": column})})


def submission_csv(competition: Competition, columns: Sequence[str], ids: Sequence[str], pred: np.ndarray) -> str:
    """The text of a submission in the competition's label format; pred (n, c) 0/1."""
    cells = {competition.id: list(ids)} | decode(with_label_column(competition, columns).labels, pred)
    return csv_text(columns, *zip(*(cells[name] for name in columns), strict=True))


def parse_submission(competition: Competition, table: Table) -> tuple[list[str], np.ndarray]:
    """(ids, (n, c) uint8) of a submission, where every cell says yes or no; raises ValueError naming the row and the
    problem."""
    strict = competition.labels.model_copy(update={"blank": None, "uncertain": None})
    ids, y, _ = parse_labels(competition.model_copy(update={"labels": strict}), table)
    return ids, y


def parse_labels(competition: Competition, table: Table) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """(ids, y, known) of a solution, in the format of the training rows; raises ValueError as `parse_submission`."""
    table, cells = label_cells(table, competition.id, competition.labels)
    y, known, issues = encode(competition.labels, cells)
    raise_first(issues)
    return table.column(competition.id), y, known


def validate_submission(path: Path, competition: Competition, columns: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises ValueError unless header, ids (`wanted`, in order), labels and numbers of labels are as expected."""
    table = read_table(path)
    if list(table.columns) != list(columns):
        raise ValueError(f"{path}: header is {list(table.columns)}, expected {list(columns)}")
    try:
        ids, pred = parse_submission(with_label_column(competition, columns), table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(ids) != len(wanted):
        raise ValueError(f"{path}: {len(ids)} rows, expected {len(wanted)}")
    for row, (id, expected) in enumerate(zip(ids, wanted, strict=True), 1):
        if id != expected:
            raise ValueError(f"{path}: row {row} is {id!r}, expected {expected!r}: wrong order or id")
    n_labels = pred.sum(1)
    rows = np.flatnonzero((n_labels < competition.least) | (n_labels > competition.most))
    if len(rows):
        row, expected = rows[0], f"expected {competition.least} to {competition.most}"
        raise ValueError(f"{path}: row {row + 1} ({ids[row]}) has {n_labels[row]} labels; {expected}")


def expected_rows(competition: Competition, folder: Path) -> tuple[list[str], list[str], str]:
    """(columns, ids in order, file name) of the sample submission, else of the test file; raises ValueError."""
    assert competition.test  # else there is no task that submits
    sample = folder / competition.sample_submission
    table = read_one(sample) if sample.is_file() else read_test(competition, folder)
    source = sample if sample.is_file() else folder / competition.table_files("test")[0]
    try:
        columns = submission_columns(competition, table.columns if source == sample else ())
        ids = list(dict.fromkeys(table.column(competition.id)))  # a test table may have several caption rows an image
        return columns, ids, source.name
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def local_scores(
    competition: Competition, folder: Path, columns: Sequence[str], ids: Sequence[str], pred: np.ndarray
) -> dict[str, float] | None:
    """All METRICS against `solution.csv`; None where that file does not exist."""
    path = folder / competition.solution
    if not path.exists():
        return None
    try:
        table = read_table(path)
        if set(columns) <= set(table.columns):  # else it has the columns of the training rows
            competition = with_label_column(competition, columns)
        solution_ids, y, known = parse_labels(competition, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    row = {id: i for i, id in enumerate(solution_ids)}
    missing = [id for id in ids if id not in row]
    if missing:
        raise ValueError(f"{path}: {len(missing)} test ids have no solution, first: {missing[0]}")
    rows = [row[id] for id in ids]
    y, pred = y[rows], pred if known is None else pred & known[rows]  # y is 0 where unknown, so those count nowhere
    settings = competition.beta, competition.zero_division
    return {name: metric(y, pred, *settings) for name, metric in METRICS.items()}


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
