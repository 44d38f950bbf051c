"""Features that the user computed: read from CSV, parquet or npy files, joined by id with the rows of each split."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tandem.artifacts.array_file import map_array
from tandem.artifacts.read_errors import naming
from tandem.artifacts.user_files import read_text
from tandem.data.csv_reader import read_table
from tandem.data.user_table import UserTable, first_repeated, listed, match_ids, read_user_table

SUFFIXES = (".parquet", ".npy", ".csv", ".tsv", ".jsonl", ".json")
IDS_BYTES = 2**30  # of a file of ids
NUMBERS = "biuf"  # kinds of numpy numbers: bool, int, unsigned, float


@dataclass(frozen=True)
class FeatureFile:
    """The rows of a file of features.

    columns  (d,) names; of an array its numbers from 0
    places   (n,) where each row stands in the file, such as "line 2"
    """

    path: Path
    ids: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray  # (n, d) float32
    places: Sequence[str]


def read_feature_file(path: Path, id_columns: Sequence[str], ids_file: Path | None = None) -> FeatureFile:
    """The rows of a .parquet, .csv or .npy file; the ids of an .npy file are in `ids_file`, else in a file beside it
    with its name and .ids.txt, .ids.csv or .ids.json. Raises ValueError that names file, line and column.

    id_columns  names of the column of ids, the first that the file has counts
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}")
    if path.suffix == ".npy":
        return _read_array(path, ids_file)
    if ids_file:
        raise ValueError(f"IDS={ids_file}: only an .npy file needs one; {path} has a column of ids")
    return _of_table(read_user_table(path), id_columns)


def _read_array(path: Path, ids_file: Path | None) -> FeatureFile:
    array = map_array(path, "save one array with numpy.save, as float32")
    array = array[:, None] if array.ndim == 1 else array
    if array.ndim != 2 or array.dtype.kind not in NUMBERS or not array.size:
        raise ValueError(f"{path}: an array {array.shape} of {array.dtype}; expected (rows, features) of numbers")
    if ids_file is None:
        beside = [path.with_suffix(f".ids{suffix}") for suffix in (".txt", ".csv", ".json")]
        ids_file = next((file for file in beside if file.is_file()), None)
        if ids_file is None:
            raise ValueError(f"{path}: the ids of its rows are missing: IDS=ids.txt, one a line, or {beside[0]}")
    ids = read_ids_file(ids_file)
    if len(ids) != len(array):
        raise ValueError(f"{path}: {len(array):,} rows, but {len(ids):,} ids in {ids_file}; expected one a row")
    places = [f"row {row}" for row in range(1, len(ids) + 1)]
    return _checked(path, ids, [str(j) for j in range(array.shape[1])], array, places)


def read_ids_file(path: Path) -> list[str]:
    """Ids in order: one a line, the first column of a CSV file with a header, or a JSON list."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of ids: .txt, .csv or .json")
    if path.suffix == ".txt":
        return [line for line in read_text(path, IDS_BYTES).splitlines() if line.strip()]
    if path.suffix == ".json":
        with naming(path, "not a JSON list of ids", "write it again"):
            found = json.loads(read_text(path, IDS_BYTES))
        if not isinstance(found, list) or not all(isinstance(id, str | int) for id in found):
            raise ValueError(f"{path}: expected a JSON list of ids")
        return list(map(str, found))
    table = read_table(path)
    return table.column("id" if "id" in table.columns else table.columns[0])


def _of_table(table: UserTable, id_columns: Sequence[str]) -> FeatureFile:
    id = next((name for name in id_columns if name in table.columns), None)
    if id is None:
        wanted = " or ".join(map(repr, id_columns))
        raise ValueError(
            f"{table.file}: no column of ids: expected {wanted}, or ID= with its name; has: {listed(table.columns)}"
        )
    names, blocks = list[str](), [np.zeros((len(table.places), 0))]
    for name in (name for name in table.columns if name != id and name not in table.counters):
        block = _numbers(table, name, id)
        names += [name] if block.shape[1] == 1 else [f"{name}.{j}" for j in range(block.shape[1])]
        blocks.append(block)
    return _checked(table.file, table.texts(id), names, np.concatenate(blocks, axis=1), table.places)


def _numbers(table: UserTable, name: str, id: str) -> np.ndarray:
    """(n, d) of a column of numbers, or of lists of numbers that all have one length; an empty cell is NaN."""
    cells = table.column(name)
    if any(isinstance(cell, list) for cell in cells):
        lengths = {len(cell) if isinstance(cell, list) else 0 for cell in cells}
        if len(lengths) > 1:
            raise ValueError(f"{table.file}: column {name!r} holds lists of {min(lengths)} to {max(lengths)} numbers")
        try:
            found = np.array(cells, float)
        except (TypeError, ValueError):
            found = np.empty(0)
        if found.ndim != 2:
            raise ValueError(f"{table.file}: column {name!r} holds lists of other things than numbers")
        return found
    values = np.empty((len(cells), 1))
    for row, cell in enumerate(cells):
        try:
            empty = cell is None or (isinstance(cell, str) and not cell.strip())
            values[row] = np.nan if empty else float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            expected = f"expected a number; leave the column out, or write it as numbers, and {id!r} as ids"
            raise ValueError(f"{table.file}: {table.places[row]}: column {name!r} holds {cell!r}; {expected}") from None
    return values


def _checked(
    path: Path, ids: Sequence[str], columns: Sequence[str], values: np.ndarray, places: Sequence[str]
) -> FeatureFile:
    """Raises ValueError where there is nothing, an id is repeated, or a number is not finite in float32."""
    if not len(ids) or not len(columns):
        raise ValueError(f"{path}: {len(ids)} rows and {len(columns)} columns of features; expected some of both")
    if repeated := first_repeated(ids):
        row, earlier = repeated
        raise ValueError(f"{path}: {places[row]}: id {ids[row]!r} is also in {places[earlier]}; expected each once")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        row, j = np.argwhere(~np.isfinite(single))[0].tolist()
        what = f"column {columns[j]!r} of id {ids[row]!r} holds {'nothing or ' * bool(np.isnan(values[row, j]))}"
        what += f"{values[row, j]}; expected a finite number: fill it in, or leave the column out"
        raise ValueError(f"{path}: {places[row]}: {what}")
    return FeatureFile(path, ids, columns, single, places)


def join_splits(files: Mapping[str, FeatureFile], splits: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """{split: (n, d) values in the order of its ids}; `files` by split, the same object where one file has them all.

    Raises ValueError where ids are missing or extra, a file has other columns than the first, or one file stands for
    two splits that have an id in common.
    """
    first = next(iter(files.values()))
    out: dict[str, np.ndarray] = {}
    used: dict[Path, set[int]] = {}
    for split, ids in splits.items():
        if split not in files:
            raise ValueError(f"{split.upper()}= is missing: the {len(ids):,} rows of {split} need features too")
        file = files[split]
        at = match_ids(file.ids, ids)
        if missing := [id for id in ids if id not in at]:
            what = f"{len(missing):,} of {len(ids):,} ids of {split} are missing, first: {missing[0]!r}"
            raise ValueError(f"{file.path}: {what}; it has ids such as {file.ids[0]!r}: expected a row for each")
        rows = [at[id] for id in ids]
        if both := used.setdefault(file.path, set()) & set(rows):
            id = file.ids[min(both)]
            raise ValueError(
                f"{file.path}: id {id!r} is in {split} and in another split; give a file for each: TRAIN=, TEST="
            )
        used[file.path] |= set(rows)
        out[split] = file.values[np.ix_(rows, _order(file, first))]
    for file in {file.path: file for file in files.values()}.values():
        if extra := sorted(set(range(len(file.ids))) - used.get(file.path, set())):
            what = f"{len(extra):,} ids are in no table of the competition, first: {file.ids[extra[0]]!r}"
            raise ValueError(f"{file.path}: {file.places[extra[0]]}: {what}; delete these rows")
    return out


def _order(file: FeatureFile, first: FeatureFile) -> list[int]:
    """The columns of `file` in the order of those of the first file."""
    if set(file.columns) != set(first.columns):
        differ = sorted(set(file.columns) ^ set(first.columns))
        what = f"{len(file.columns)} columns of features, {len(first.columns)} in {first.path}; first that differs"
        raise ValueError(f"{file.path}: {what}: {differ[0]!r}; expected the same")
    at = {name: j for j, name in enumerate(file.columns)}
    return [at[name] for name in first.columns]


def constant_columns(values: np.ndarray, columns: Sequence[str]) -> list[str]:
    """Names of the columns that do not vary over the training rows, by the rule by which models standardise."""
    deviation, size = values.std(0), np.maximum(np.abs(values.mean(0)), 1)
    return [columns[j] for j in np.flatnonzero(deviation <= 1e-6 * size).tolist()]
