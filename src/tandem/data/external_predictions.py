"""Predictions that were made elsewhere: a CSV or parquet file -> values in the order of our rows, checked whole."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.types as pt

from tandem.artifacts.column_names import read_parquet
from tandem.data.csv_reader import read_table
from tandem.data.image_names import image_suffix
from tandem.logits import bce_from_logits, logit, sigmoid

Kind = Literal["probabilities", "logits"]
KINDS: tuple[Kind, ...] = ("probabilities", "logits")
SHOWN = 3  # names in a message
ROUNDING = 1e-6  # above 1 or below 0: by computing in float32
NEGATIVE = 0.1  # share of negative values from which they are logits
INDEX = "__index_level_0__"  # as pandas writes an index without a name to parquet


@dataclass(frozen=True)
class Cells:
    """A file with a row for each id, before its values are read."""

    file: Path
    columns: tuple[str, ...]
    places: Sequence[str]  # (n,) of each row, such as "line 2"
    column: Callable[[str], Sequence[object]]  # (n,) cells of a column
    counters: tuple[str, ...] = ()  # columns without a name that number the rows

    def texts(self, name: str) -> list[str]:
        """(n,) cells as text; a whole number has no fraction."""
        cells = self.column(name)
        return [str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell) for cell in cells]


def read_cells(file: Path) -> Cells:
    """Raises FileNotFoundError, or ValueError with file and line where it is no table with a header line."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} does not exist; expected a CSV or parquet file of predictions")
    if file.suffix.lower() != ".parquet":
        table = read_table(file)
        places = [f"line {line}" for line in table.lines]
        return Cells(file, table.columns, places, table.column, table.row_numbers)
    try:
        content = read_parquet(file)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{file}: not a parquet file ({error})") from error
    names = tuple(content.column_names)
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{file}: the columns {repeated[:SHOWN]} are repeated; expected each label once")
    counters = (INDEX,) if INDEX in names and pt.is_integer(content.schema.field(INDEX).type) else ()
    places = [f"row {i + 1}" for i in range(content.num_rows)]
    return Cells(file, names, places, lambda name: content.column(name).to_pylist(), counters)


def read_values(cells: Cells, names: Sequence[str], ids: Sequence[str], rows: str) -> np.ndarray:
    """(n, c) float64 in the order of the label `names` and of our `ids`, which are called `rows` in messages.

    Raises ValueError that names file, line, what came and what was expected, unless every label and every id is there
    once and every value is a finite number.
    """
    id_column = find_id_column(cells, names)
    if not cells.places:
        raise ValueError(f"{cells.file}: no row below the header; expected one for each of the {len(ids):,} {rows}")
    position = join_ids(cells, id_column, ids, rows)
    values = np.empty((len(ids), len(names)))
    for j, name in enumerate(names):
        values[:, j] = _numbers(cells, name)[position]
    return values


def find_id_column(cells: Cells, names: Sequence[str]) -> str:
    """The one column that is no label's; raises ValueError where labels are missing or other columns are there."""
    file, columns = cells.file, set(cells.columns)
    expected = f"expected a column of ids and one for each of the {len(names)} labels: {_listed(names)}"
    found = [name for name in names if name in columns]
    if not found:
        raise ValueError(
            f"{file}: line 1: no column is one of the labels, there are {_listed(cells.columns)}; {expected}; write a "
            "header line, and commas between the columns"
        )
    others = [name for name in cells.columns if name not in set(names)]
    if len(others) > 1:
        others = [name for name in others if name not in cells.counters]
    if missing := [name for name in names if name not in columns]:
        unknown = f", and {_listed(others)} are no labels" if len(others) > 1 else ""
        raise ValueError(f"{file}: line 1: no column for the labels {_listed(missing)}{unknown}; {expected}")
    if not others:
        raise ValueError(f"{file}: line 1: every column is a label's; {expected}")
    if len(others) > 1:
        extra = f"the columns {_listed(others)} are no labels"
        advice = "; give folds as FOLDS=folds.csv" if "fold" in others else ""
        raise ValueError(f"{file}: line 1: {extra}, one of them may be the ids; {expected}{advice}")
    return others[0]


def join_ids(cells: Cells, column: str, ids: Sequence[str], rows: str) -> np.ndarray:
    """(n,) the row of the file for each of our `ids`, which are written alike or, in all rows, with or without the
    suffix of an image; raises ValueError where one is missing, repeated or unknown."""
    given = cells.texts(column)
    if set(given) != set(ids) and len({_stem(name) for name in ids}) == len(ids):
        stems, ours = [_stem(name) for name in given], {_stem(name) for name in ids}
        if len(set(stems) & ours) > len(set(given) & set(ids)):
            return _joined(cells, column, given, stems, [_stem(name) for name in ids], ids, rows)
    return _joined(cells, column, given, given, ids, ids, rows)


def _joined(
    cells: Cells,
    column: str,
    written: list[str],
    given: list[str],
    wanted: Sequence[str],
    ids: Sequence[str],
    rows: str,
) -> np.ndarray:
    """`given` and `wanted` are compared, `written` and `ids` are shown."""
    row: dict[str, int] = {}
    known = set(wanted)
    for i, name in enumerate(given):
        where = f"{cells.file}: {cells.places[i]}, column {column!r}: id {written[i]!r}"
        if name not in known:
            near = f"such as {ids[0]!r}" if ids else "there are none"
            raise ValueError(f"{where} is none of the {len(ids):,} {rows}, {near}; expected exactly these ids")
        if name in row:
            raise ValueError(f"{where} is repeated, first in {cells.places[row[name]]}; expected each id once")
        row[name] = i
    if missing := [id for id, name in zip(ids, wanted, strict=True) if name not in row]:
        raise ValueError(
            f"{cells.file}: {len(missing):,} of the {len(ids):,} {rows} have no row, first: {missing[0]!r}; expected "
            f"one for each, {len(given):,} came"
        )
    return np.array([row[name] for name in wanted], np.int64)


def _numbers(cells: Cells, name: str) -> np.ndarray:
    """(n,) float64 of a column; raises ValueError at the first that is no finite number."""
    values = np.empty(len(cells.places))
    for i, cell in enumerate(cells.column(name)):
        try:
            values[i] = float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            shown = "an empty cell" if cell is None or not str(cell).strip() else f"{cell!r}, which is no number"
            raise ValueError(_at(cells, i, name, shown)) from None
        if not np.isfinite(values[i]):
            raise ValueError(_at(cells, i, name, f"{values[i]} ({'NaN' if np.isnan(values[i]) else 'infinity'})"))
    return values


def _at(cells: Cells, row: int, name: str, came: str) -> str:
    return f"{cells.file}: {cells.places[row]}, column {name!r}: {came}; expected a number such as 0.25"


def kind_of(cells: Cells, names: Sequence[str], values: np.ndarray, y: np.ndarray | None = None) -> Kind:
    """Whether values (n, c) are logits or probabilities; `y` (n, c) are the labels where these are known.

    Raises ValueError: a question where both fit, an error where probabilities are above 1.
    """
    low, high = float(values.min()), float(values.max())
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        if y is not None and bce_from_logits(values, y).mean() < bce_from_logits(logit(values, 1e-4), y).mean():
            raise _question(cells, f"all values are from {low:g} to {high:g}, but fit the labels better as logits")
        return "probabilities"
    if low >= -ROUNDING:
        _check_probabilities(cells, names, values)
    if (values < 0).mean() < NEGATIVE:
        raise _question(cells, f"{(values < 0).mean():.1%} of the values are negative, down to {low:g}")
    if high <= 0:
        raise _question(cells, f"all values are from {low:g} to {high:g}: logits of at most 0, or logarithms")
    return "logits"


def _question(cells: Cells, seen: str) -> ValueError:
    return ValueError(
        f"question: {cells.file}: {seen}; are they logits or probabilities? Answer with KIND=logits or "
        "KIND=probabilities"
    )


def _check_probabilities(cells: Cells, names: Sequence[str], values: np.ndarray) -> None:
    """Raises ValueError at a value that is no probability."""
    over = (values < -ROUNDING) | (values > 1 + ROUNDING)
    if not over.any():
        return
    # the values are in the order of our rows: find the first of the file's
    for name in names:
        for i, cell in enumerate(_numbers(cells, name)):
            if not -ROUNDING <= cell <= 1 + ROUNDING:
                came = f"{cell:g} is no probability"
                where = f"{cells.file}: {cells.places[i]}, column {name!r}: {came}, {int(over.sum()):,} in all"
                raise ValueError(f"{where}; expected 0 to 1, or, if they are logits, KIND=logits")


def as_probabilities(cells: Cells, names: Sequence[str], values: np.ndarray, kind: Kind) -> np.ndarray:
    """(n, c) float32; raises ValueError where `kind` is probabilities and a value is none."""
    if kind == "logits":
        return sigmoid(values).astype(np.float32)
    _check_probabilities(cells, names, values)
    return np.clip(values, 0, 1).astype(np.float32)


def read_folds(cells: Cells, ids: Sequence[str], id_column: str) -> list[str]:
    """(n,) the fold of each of our `ids` as it is named in a file with the columns id and fold."""
    candidates = [name for name in dict.fromkeys(("id", id_column, "image")) if name in cells.columns]
    if "fold" not in cells.columns or not candidates:
        raise ValueError(f"{cells.file}: line 1: columns are {_listed(cells.columns)}; expected id and fold")
    position, folds = join_ids(cells, candidates[0], ids, "training rows"), cells.texts("fold")
    for place, fold in zip(cells.places, folds, strict=True):
        if not fold.strip() or fold in ("nan", "None"):
            raise ValueError(f"{cells.file}: {place}, column 'fold': an empty cell; expected the name of a fold")
    return [folds[i].strip() for i in position]


def same_partition(a: Sequence[object], b: Sequence[object]) -> bool:
    """Whether two fold maps (n,) are equal up to the names of the folds.

    >>> same_partition([0, 1, 0], ["b", "a", "b"]), same_partition([0, 1, 0], ["b", "b", "b"])
    (True, False)
    """
    return len(set(a)) == len(set(zip(a, b, strict=True))) == len(set(b))


def _stem(name: str) -> str:
    return name.removesuffix(image_suffix(name))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more
