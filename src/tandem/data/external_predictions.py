"""Predictions that were made elsewhere: a CSV or parquet file -> values in the order of our rows, checked whole."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tandem.data.user_table import UserTable, first_repeated, listed, match_ids
from tandem.logits import bce_from_logits, logit, sigmoid

Kind = Literal["probabilities", "logits"]
KINDS: tuple[Kind, ...] = ("probabilities", "logits")
ROUNDING = 1e-6  # above 1 or below 0: by computing in float32
NEGATIVE = 0.1  # share of negative values from which they are logits


def read_values(table: UserTable, names: Sequence[str], ids: Sequence[str], rows: str) -> np.ndarray:
    """(n, c) float64 in the order of the label `names` and of our `ids`, which are called `rows` in messages.

    Raises ValueError that names file, line, what came and what was expected, unless every label and every id is there
    once and every value is a finite number.
    """
    id_column = find_id_column(table, names)
    if not table.places:
        raise ValueError(f"{table.file}: no row below the header; expected one for each of the {len(ids):,} {rows}")
    position = join_ids(table, id_column, ids, rows)
    values = np.empty((len(ids), len(names)))
    for j, name in enumerate(names):
        values[:, j] = _numbers(table, name)[position]
    return values


def find_id_column(table: UserTable, names: Sequence[str]) -> str:
    """The one column that is no label's; raises ValueError where labels are missing or other columns are there."""
    file, columns = table.file, set(table.columns)
    expected = f"expected a column of ids and one for each of the {len(names)} labels: {listed(names)}"
    found = [name for name in names if name in columns]
    if not found:
        raise ValueError(
            f"{file}: line 1: no column is one of the labels, there are {listed(table.columns)}; {expected}; write a "
            "header line, and commas between the columns"
        )
    others = [name for name in table.columns if name not in set(names)]
    if len(others) > 1:
        others = [name for name in others if name not in table.counters]
    if missing := [name for name in names if name not in columns]:
        unknown = f", and {listed(others)} are no labels" if len(others) > 1 else ""
        raise ValueError(f"{file}: line 1: no column for the labels {listed(missing)}{unknown}; {expected}")
    if not others:
        raise ValueError(f"{file}: line 1: every column is a label's; {expected}")
    if len(others) > 1:
        extra = f"the columns {listed(others)} are no labels"
        advice = "; give folds as FOLDS=folds.csv" if "fold" in others else ""
        raise ValueError(f"{file}: line 1: {extra}, one of them may be the ids; {expected}{advice}")
    return others[0]


def join_ids(table: UserTable, column: str, ids: Sequence[str], rows: str) -> np.ndarray:
    """(n,) the row of the file for each of our `ids`, which are written alike or with or without the suffix of an
    image; raises ValueError where one is missing, repeated or unknown."""
    given = table.texts(column)

    def where(row: int) -> str:
        return f"{table.file}: {table.places[row]}, column {column!r}: id {given[row]!r}"

    if repeated := first_repeated(given):
        row, earlier = repeated
        raise ValueError(f"{where(row)} is repeated, first in {table.places[earlier]}; expected each id once")
    at = match_ids(given, ids)
    if unknown := sorted(set(range(len(given))) - set(at.values())):
        near = f"such as {ids[0]!r}" if ids else "there are none"
        raise ValueError(f"{where(unknown[0])} is none of the {len(ids):,} {rows}, {near}; expected exactly these ids")
    if missing := [id for id in ids if id not in at]:
        raise ValueError(
            f"{table.file}: {len(missing):,} of the {len(ids):,} {rows} have no row, first: {missing[0]!r}; expected "
            f"one for each, {len(given):,} came"
        )
    return np.array([at[id] for id in ids], np.int64)


def _numbers(table: UserTable, name: str) -> np.ndarray:
    """(n,) float64 of a column; raises ValueError at the first that is no finite number."""
    values = np.empty(len(table.places))
    for i, cell in enumerate(table.column(name)):
        try:
            values[i] = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            shown = "an empty cell" if cell is None or not str(cell).strip() else f"{cell!r}, which is no number"
            raise ValueError(_at(table, i, name, shown)) from None
        if not np.isfinite(values[i]):
            raise ValueError(_at(table, i, name, f"{values[i]} ({'NaN' if np.isnan(values[i]) else 'infinity'})"))
    return values


def _at(table: UserTable, row: int, name: str, came: str) -> str:
    return f"{table.file}: {table.places[row]}, column {name!r}: {came}; expected a number such as 0.25"


def kind_of(table: UserTable, names: Sequence[str], values: np.ndarray, y: np.ndarray | None = None) -> Kind:
    """Whether values (n, c) are logits or probabilities; `y` (n, c) are the labels where these are known.

    Raises ValueError: a question where both fit, an error where probabilities are above 1.
    """
    low, high = float(values.min()), float(values.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        if y is not None and bce_from_logits(values, y).mean() < bce_from_logits(logit(values, 1e-4), y).mean():
            raise _question(table, f"all values are from {low:g} to {high:g}, but fit the labels better as logits")
        return "probabilities"
    if low >= -ROUNDING:
        _check_probabilities(table, names, values)
    if (values < 0).mean() < NEGATIVE:
        raise _question(table, f"{(values < 0).sum():,} of {values.size:,} values are negative, down to {low:g}")
    if high <= 0:
        raise _question(table, f"all values are from {low:g} to {high:g}: logits of at most 0, or logarithms")
    return "logits"


def _question(table: UserTable, seen: str) -> ValueError:
    return ValueError(
        f"question: {table.file}: {seen}; are they logits or probabilities? Answer with KIND=logits or "
        "KIND=probabilities"
    )


def _check_probabilities(table: UserTable, names: Sequence[str], values: np.ndarray) -> None:
    """Raises ValueError at a value that is no probability."""
    over = (values < -ROUNDING) | (values > 1 + ROUNDING)
    if not over.any():
        return
    # the values are in the order of our rows: find the first of the file's
    for name in names:
        for i, cell in enumerate(_numbers(table, name)):
            if not -ROUNDING <= cell <= 1 + ROUNDING:
                came = f"{cell:g} is no probability"
                where = f"{table.file}: {table.places[i]}, column {name!r}: {came}, {int(over.sum()):,} in all"
                raise ValueError(f"{where}; expected 0 to 1, or, if they are logits, KIND=logits")


def as_probabilities(table: UserTable, names: Sequence[str], values: np.ndarray, kind: Kind) -> np.ndarray:
    """(n, c) float32; raises ValueError where `kind` is probabilities and a value is none."""
    if kind == "logits":
        return sigmoid(values).astype(np.float32)
    _check_probabilities(table, names, values)
    return np.clip(values, 0, 1).astype(np.float32)


def read_folds(table: UserTable, ids: Sequence[str], id_column: str) -> list[str]:
    """(n,) the fold of each of our `ids` as it is named in a file with the columns id and fold."""
    candidates = [name for name in dict.fromkeys(("id", id_column, "image")) if name in table.columns]
    if "fold" not in table.columns or not candidates:
        raise ValueError(f"{table.file}: line 1: columns are {listed(table.columns)}; expected id and fold")
    position, folds = join_ids(table, candidates[0], ids, "training rows"), table.texts("fold")
    for place, fold in zip(table.places, folds, strict=True):
        if not fold.strip() or fold == "nan":
            raise ValueError(f"{table.file}: {place}, column 'fold': an empty cell; expected the name of a fold")
    found = [folds[i].strip() for i in position]
    if len(set(found)) == 1:
        raise ValueError(
            f"{table.file}: all rows are in fold {found[0]!r}, so none was left out; expected 2 or more folds"
        )
    return found


def same_partition(a: Sequence[object], b: Sequence[object]) -> bool:
    """Whether two fold maps (n,) are equal up to the names of the folds.

    >>> same_partition([0, 1, 0], ["b", "a", "b"]), same_partition([0, 1, 0], ["b", "b", "b"])
    (True, False)
    """
    return len(set(a)) == len(set(zip(a, b, strict=True))) == len(set(b))
