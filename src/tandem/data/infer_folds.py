"""Infers whether the user brings folds: a column of the training table, or a file."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tandem.config.competition import MOST_FOLDS
from tandem.data.competition_tables import read_one
from tandem.data.csv_reader import Table
from tandem.data.infer_tables import TABLES, Found

FOLD_NAME = re.compile(r"(k|cv)?[ _]?folds?", re.IGNORECASE)


def infer_folds(train: Table, id: str, named: Sequence[str], folder: Path, files: Sequence[str], found: Found) -> None:
    """Adds `folds.column` or `folds.file` to the values, where the training table has a column called fold, or a file
    called folds names each training row; columns `named` by the sample submission are labels."""
    if any(key in found.given for key in ("folds.column", "folds.file")):
        return
    for column in train.columns:
        if FOLD_NAME.fullmatch(column.strip()) and column not in named and is_folds(train.column(column)):
            found.values["folds.column"] = column
            found.notes.append(f"folds: those of column {column!r} are taken as they are")
            return
    for file in files:
        path = PurePosixPath(file)
        if not FOLD_NAME.fullmatch(path.stem) or path.suffix.lower() not in TABLES:
            continue
        table = read_one(folder / file)
        columns = [name for name in table.columns if FOLD_NAME.fullmatch(name.strip())]
        key = id if id in table.columns else "id"
        if len(columns) != 1 or key not in table.columns or not set(train.column(id)) <= set(table.column(key)):
            found.notes.append(f"{file} is not used: expected columns {id} and fold, and a line for each training row")
            continue
        found.values["folds.file"] = file
        if columns != ["fold"]:
            found.values["folds.column"] = columns[0]
        found.unused = [line for line in found.unused if line.partition(":")[0] != file]
        found.notes.append(f"folds: those of {file} are taken as they are")
        return


def is_folds(cells: Sequence[str]) -> bool:
    """Whether the cells are of 2 to MOST_FOLDS folds, each with several rows.

    >>> is_folds(["0", "1", "0", "1"]), is_folds(["0", "1", "2"]), is_folds(["1", "1"])
    (True, False, False)
    """
    numbers = {cell: cells.count(cell) for cell in set(cells)} if len(set(cells)) <= MOST_FOLDS else {}
    return len(numbers) >= 2 and "" not in numbers and min(numbers.values()) > 1
