"""The submission: its rows, and the checks a file must pass before anybody uploads it."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tandem.config.competition import Competition
from tandem.data.csv_reader import Table, read_table
from tandem.data.label_codec import LabelCodec



def columns_of(competition: Competition, sample: Sequence[str] = ()) -> list[str]:
    """A submission's header: as the sample submission has it, named as in training where there is none.

    Raises ValueError where the sample has other columns than an id and these labels.
    """
    labels = competition.labels
    own = [competition.id, *([labels.column] if labels.format == "separated" else labels.names)]
    if not sample:
        return own
    two = labels.format == "separated" and len(sample) == 2 and competition.id in sample
    if not two and sorted(sample) != sorted(own):
        raise ValueError(f"its columns are {few(sample)}; expected {few(own)}")
    return list(sample)


def few(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (f", ... ({len(names)} in all)" if len(names) > 4 else "")


def as_submitted(competition: Competition, columns: Sequence[str]) -> Competition:
    """With the column of labels named as in these columns of a submission."""
    if competition.labels.format == "columns":
        return competition
    (column,) = (name for name in columns if name != competition.id)
    return competition.model_copy(update={"labels": competition.labels.model_copy(update={"column": column})})


def to_csv(competition: Competition, columns: Sequence[str], ids: Sequence[str], pred: np.ndarray) -> str:
    """The text of a submission in the competition's own label format: these columns, ids in the given order."""
    labels, cells = competition.labels, {competition.id: list(ids)}
    if labels.format == "columns":
        cells |= dict(zip(labels.names, pred.astype(int).T.tolist(), strict=True))
    else:
        (column,) = (name for name in columns if name != competition.id)
        cells[column] = LabelCodec(labels.names, labels.separator).decode(pred)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(cells[name] for name in columns), strict=True))
    return text.getvalue()


def read_predicted(competition: Competition, table: Table) -> tuple[list[str], np.ndarray]:
    """(ids, (n, c) 0/1) of a submission or solution; raises ValueError naming the row and what is wrong."""
    labels = competition.labels
    ids = table.column(competition.id)
    if labels.format == "separated":
        return ids, LabelCodec(labels.names, labels.separator).encode(table.column(labels.column))
    columns = []
    for name in labels.names:
        cells = table.column(name)
        odd = [i for i, cell in enumerate(cells) if cell.strip() not in ("0", "1", "0.0", "1.0")]
        if odd:
            raise ValueError(f"row {odd[0] + 1}: column {name!r} holds {cells[odd[0]]!r}; expected 0 or 1")
        columns.append([cell.strip() in ("1", "1.0") for cell in cells])
    return ids, np.array(columns, np.uint8).T


def validate(
    path: Path, competition: Competition, columns: Sequence[str], expected_ids: Sequence[str]
) -> None:
    """Reads the file as the judge would: header, order, every id once, known labels, label counts in bounds."""
    table = read_table(path)
    if list(table.columns) != list(columns):
        raise ValueError(f"{path}: header is {list(table.columns)}, expected {list(columns)}")
    try:
        ids, pred = read_predicted(as_submitted(competition, columns), table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if len(ids) != len(expected_ids):
        raise ValueError(f"{path}: {len(ids)} rows, expected {len(expected_ids)}")
    wrong = [i for i, (came, want) in enumerate(zip(ids, expected_ids, strict=True)) if came != want]
    if wrong:
        i = wrong[0]
        raise ValueError(
            f"{path}: row {i + 1} is {ids[i]!r}, expected {expected_ids[i]!r}: wrong order or id"
        )
    size = pred.sum(1)
    off = np.flatnonzero((size < competition.least) | (size > competition.most))
    if len(off):
        raise ValueError(
            f"{path}: row {off[0] + 1} ({ids[off[0]]}) has {size[off[0]]} labels; "
            f"expected {competition.least} to {competition.most}"
        )


def expected_form(competition: Competition, folder: Path) -> tuple[list[str], list[str], str]:
    """(columns, ids in order) of the sample submission, or of the test file where there is none; the file's name.

    Raises ValueError where the sample is of another form.
    """
    sample = folder / competition.sample_submission
    source = sample if sample.is_file() else folder / competition.test
    table = read_table(source)
    try:
        columns = columns_of(competition, table.columns if source == sample else ())
        return columns, table.column(competition.id), source.name
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error


def local_scores(
    competition: Competition, folder: Path, columns: Sequence[str], ids: Sequence[str], pred: np.ndarray
) -> dict | None:
    """The three F scores against `solution.csv`; None where there is no such file."""
    from tandem.metrics import METRICS

    path = folder / competition.solution
    if not path.exists():
        return None
    try:
        table = read_table(path)
        if set(columns) <= set(table.columns):  # a submission's form; else that of the training rows
            competition = as_submitted(competition, columns)
        solution_ids, y = read_predicted(competition, table)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    row = {name: i for i, name in enumerate(solution_ids)}
    missing = [name for name in ids if name not in row]
    if missing:
        raise ValueError(f"{path}: {len(missing)} test ids have no solution, first: {missing[0]}")
    y = y[[row[name] for name in ids]]
    return {name: metric(y, pred, competition.beta) for name, metric in METRICS.items()}


def drift(
    out_of_fold: dict[str, float], test: dict[str, float], rows: int, test_rows: int
) -> dict[str, dict]:
    """The labels whose predicted rates differ by more than chance: 4 standard errors, and a tenth of the rate."""
    found = {}
    for name, rate in out_of_fold.items():
        mean = (rate * rows + test[name] * test_rows) / (rows + test_rows)
        error = (mean * (1 - mean) * (1 / rows + 1 / test_rows)) ** 0.5
        if abs(test[name] - rate) > max(4 * error, 0.1 * rate):
            found[name] = {"out_of_fold": rate, "test": test[name]}
    return found
