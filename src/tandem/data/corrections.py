"""input/C/corrections.csv: labels of training rows that a person looked at again, and what they are now."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.atomic_io import csv_text, write_text
from tandem.artifacts.paths import Paths
from tandem.artifacts.user_files import is_there
from tandem.data.csv_reader import read_table
from tandem.data.split_tables import read_labels

COLUMNS = ("id", "label", "was", "now", "suspected_by")
UNKNOWN = "unknown"  # how a label that is not known is written
VALUES = {"0": 0, "1": 1, UNKNOWN: None}
BY_HAND = "by hand"


@dataclass(frozen=True)
class Correction:
    """One label of one row; `was` and `now` are equal where the given label was found to be right."""

    id: str
    label: str
    was: int | None  # as the competition's table gives it; None: unknown
    now: int
    suspected_by: str = BY_HAND
    line: int = 0  # in the file, from 1

    @property
    def cell(self) -> tuple[str, str]:
        return self.id, self.label

    @property
    def changes(self) -> bool:
        return self.was != self.now


@dataclass(frozen=True)
class GivenLabels:
    """The labels of the training rows as the competition's table gives them.

    y      (n, c) uint8, 0 where unknown
    known  (n, c) bool; None where all are
    """

    ids: Sequence[str]
    names: Sequence[str]
    y: np.ndarray
    known: np.ndarray | None = None

    def of(self, row: int) -> list[int | None]:
        """(c,) labels of one row."""
        known = [True] * len(self.names) if self.known is None else self.known[row].tolist()
        return [int(value) if there else None for value, there in zip(self.y[row], known, strict=True)]


@dataclass(frozen=True)
class Limits:
    """How many labels a row may have, as competition.toml says."""

    least: int
    most: int

    def problem(self, labels: Sequence[int | None]) -> str:
        """What is wrong with the labels of a row; "" where nothing is."""
        n, unknown = labels.count(1), labels.count(None)
        if n > self.most:
            return f"{n} labels, at most {self.most} (most in competition.toml)"
        if n + unknown < self.least:
            return f"{n or 'no'} label{'s' * (n != 1)}, at least {self.least} (least in competition.toml)"
        return ""


def read_corrections(file: Path) -> list[Correction]:
    """In the order of the file, none where there is no file; raises ValueError with the line that can't be read."""
    if not is_there(file):
        return []
    table = read_table(file)
    if missing := [name for name in COLUMNS[:4] if name not in table.columns]:
        raise ValueError(
            f"{file}: line 1: no column {missing[0]!r}, there are {', '.join(table.columns)}; "
            f"expected {', '.join(COLUMNS)}"
        )
    suspected = table.column("suspected_by") if "suspected_by" in table.columns else [""] * len(table.rows)
    cells = zip(*(table.column(name) for name in COLUMNS[:4]), suspected, table.lines, strict=True)
    found, first = [], dict[tuple[str, str], int]()
    for id, label, was, now, by, line in cells:
        for column, value in (("was", was), ("now", now)):
            expected = [name for name in VALUES if column == "was" or name != UNKNOWN]
            if value not in expected:
                raise ValueError(f"{file}: line {line}: {column} is {value!r}; expected {' or '.join(expected)}")
        if (earlier := first.setdefault((id, label), line)) != line:
            raise ValueError(
                f"{file}: line {line}: label {label!r} of {id!r} stands on line {earlier} too; keep one of them"
            )
        found.append(Correction(id, label, VALUES[was], int(now), by or BY_HAND, line))
    return found


def write_corrections(file: Path, corrections: Sequence[Correction]) -> None:
    """The whole file, at once."""
    rows = ((one.id, one.label, written(one.was), written(one.now), one.suspected_by) for one in corrections)
    write_text(file, csv_text(COLUMNS, *rows))


def summary(corrections: Sequence[Correction]) -> str:
    """How many labels are corrected, and how many were found to be right."""
    changed = [one.id for one in corrections if one.changes]
    labels, rows = len(changed), len(set(changed))
    of = f"{labels:,} label{'s' * (labels != 1)} of {rows:,} row{'s' * (rows != 1)} corrected"
    return f"{of}, {len(corrections) - labels:,} found to be right"


def written(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def corrected(
    given: GivenLabels, corrections: Sequence[Correction], limits: Limits, file: Path, others: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray | None]:
    """(y, known) with the corrections; raises ValueError with the line of one that does not fit the table.

    others  ids of rows that are not for training: their labels are never corrected
    """
    row, column = ({name: i for i, name in enumerate(names)} for names in (given.ids, given.names))
    y, known, elsewhere = given.y.copy(), None if given.known is None else given.known.copy(), set(others)
    for one in corrections:
        at = f"{file}: line {one.line}:"
        if one.id not in row:
            why = "is a row of another table; only labels of training rows are corrected" if one.id in elsewhere else ""
            raise ValueError(f"{at} id {one.id!r} {why or 'is not a training row'}; delete the line")
        if one.label not in column:
            raise ValueError(f"{at} label {one.label!r} is not one of {', '.join(map(repr, given.names))}")
        i, j = row[one.id], column[one.label]
        if (is_now := given.of(i)[j]) != one.was:
            raise ValueError(
                f"{at} was is {written(one.was)}, but the table's label {one.label!r} of {one.id!r} is "
                f"{written(is_now)}: the table changed since; correct or delete the line"
            )
        y[i, j] = one.now
        if known is not None:
            known[i, j] = True
    for one in corrections:
        after = GivenLabels(given.ids, given.names, y, known).of(row[one.id])
        if one.changes and (wrong := limits.problem(after)):
            raise ValueError(f"{file}: line {one.line}: {one.id!r} then has {wrong}")
    return y, None if known is None or known.all() else known


@dataclass(frozen=True)
class Corrected:
    """Which training labels are corrected in the checked tables.

    cells  (n, c) bool
    """

    cells: np.ndarray

    @property
    def labels(self) -> int:
        return int(self.cells.sum())

    @property
    def rows(self) -> int:
        return int(self.cells.any(1).sum())


def read_corrected(paths: Paths) -> Corrected:
    """Raises FileNotFoundError where no corrections are applied."""
    (_, _, y, known), (_, _, given, given_known) = read_labels(paths.labels), read_labels(paths.given_labels)
    return Corrected((y != given) | (_known(y, known) != _known(given, given_known)))


def _known(y: np.ndarray, known: np.ndarray | None) -> np.ndarray:
    return np.ones(y.shape, bool) if known is None else known
