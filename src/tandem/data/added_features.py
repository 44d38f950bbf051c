"""Features that the user computed: read from files, joined by id, kept below the competition's folder, read back."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, read_json, write_json, write_with
from tandem.artifacts.paths import Paths
from tandem.config.encoders import Joint
from tandem.data.csv_reader import read_table
from tandem.data.image_names import image_suffix

SUFFIXES = (".parquet", ".npy", ".csv", ".tsv", ".jsonl", ".json")
NUMBERS = "biuf"  # kinds of numpy numbers: bool, int, unsigned, float
HOW = "run: make add-features COMP={comp} FILE=<file> NAME={name} AGAIN=1"


@dataclass(frozen=True)
class FeatureFile:
    """The rows of a file of features.

    columns  (d,) names; of an array its numbers from 0
    places   (n,) where each row stands in the file, for messages
    """

    path: Path
    ids: Sequence[str]
    columns: Sequence[str]
    values: np.ndarray  # (n, d) float32
    places: Sequence[str]


# ---- reading


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
    return _read_parquet(path, id_columns) if path.suffix == ".parquet" else _read_csv(path, id_columns)


def _read_array(path: Path, ids_file: Path | None) -> FeatureFile:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path}: not an array of numbers ({error}); save it with numpy.save, as float32") from error
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
    places = [f"{path}: row {row}" for row in range(1, len(ids) + 1)]
    return _checked(path, ids, [str(j) for j in range(array.shape[1])], array, places)


def read_ids_file(path: Path) -> list[str]:
    """Ids in order: one a line, the first column of a CSV file with a header, or a JSON list."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; expected a file of ids: .txt, .csv or .json")
    if path.suffix == ".txt":
        return [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    if path.suffix == ".json":
        found = read_json(path)
        if not isinstance(found, list) or not all(isinstance(id, str | int) for id in found):
            raise ValueError(f"{path}: expected a JSON list of ids")
        return list(map(str, found))
    table = read_table(path)
    return table.column("id" if "id" in table.columns else table.columns[0])


def _read_csv(path: Path, id_columns: Sequence[str]) -> FeatureFile:
    table = read_table(path)
    id = _id_column(path, table.columns, id_columns)
    columns = [name for name in table.columns if name != id and name not in table.row_numbers]
    places = [f"{path}:{line}" for line in table.lines]
    values = np.empty((len(table.rows), len(columns)))
    for j, name in enumerate(columns):
        for row, cell in enumerate(table.column(name)):
            try:
                values[row, j] = float(cell) if cell.strip() else np.nan
            except ValueError:
                expected = f"expected a number; leave the column out, or write it as numbers, and {id!r} as ids"
                raise ValueError(f"{places[row]}: column {name!r} holds {cell!r}; {expected}") from None
    return _checked(path, table.column(id), columns, values, places)


def _read_parquet(path: Path, id_columns: Sequence[str]) -> FeatureFile:
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a parquet file ({error})") from error
    id = _id_column(path, table.column_names, id_columns)
    names, blocks = list[str](), list[np.ndarray]()
    for name in (name for name in table.column_names if name != id):
        block = _numbers(path, name, table[name].combine_chunks())
        names += [name] if block.shape[1] == 1 else [f"{name}.{j}" for j in range(block.shape[1])]
        blocks.append(block)
    values = np.concatenate(blocks, axis=1) if blocks else np.zeros((table.num_rows, 0))
    ids = ["" if cell is None else str(cell) for cell in table[id].to_pylist()]
    return _checked(path, ids, names, values, [f"{path}: row {row}" for row in range(1, len(ids) + 1)])


def _numbers(path: Path, name: str, column: Any) -> np.ndarray:
    """(n, d) of a column of numbers, or of lists of numbers that all have one length."""
    if isinstance(column, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        lists = column.to_pylist()
        lengths = {len(values) if values is not None else 0 for values in lists}
        if len(lengths) > 1:
            raise ValueError(f"{path}: column {name!r} holds lists of {min(lengths)} to {max(lengths)} numbers")
        found = np.array(lists)
    else:
        found = np.asarray(column.to_numpy(zero_copy_only=False))[:, None]
        if found.dtype == object and (pa.types.is_boolean(column.type) or pa.types.is_null(column.type)):
            found = found.astype(float)  # None: not a number
    if found.dtype.kind not in NUMBERS or found.ndim != 2:
        raise ValueError(
            f"{path}: column {name!r} holds {column.type}; expected numbers, or lists of them: leave it out"
        )
    return found


def _id_column(path: Path, columns: Sequence[str], wanted: Sequence[str]) -> str:
    for name in wanted:
        if name in columns:
            return name
    there = ", ".join(columns[:6]) + (", ..." if len(columns) > 6 else "")
    raise ValueError(
        f"{path}: no column of ids: expected {' or '.join(map(repr, wanted))}, or ID=<column>; has: {there}"
    )


def _checked(
    path: Path, ids: Sequence[str], columns: Sequence[str], values: np.ndarray, places: Sequence[str]
) -> FeatureFile:
    """Raises ValueError where there is nothing, an id is repeated, or a number is not finite in float32."""
    if not len(ids) or not len(columns):
        raise ValueError(f"{path}: {len(ids)} rows and {len(columns)} columns of features; expected some of both")
    first: dict[str, int] = {}
    for row, id in enumerate(ids):
        if first.setdefault(id, row) != row:
            raise ValueError(f"{places[row]}: id {id!r} is also at {places[first[id]]}; expected each once")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        row, j = np.argwhere(~np.isfinite(single))[0].tolist()
        what = f"column {columns[j]!r} of id {ids[row]!r} holds {'nothing or ' * bool(np.isnan(values[row, j]))}"
        what += f"{values[row, j]}; expected a finite number: fill it in, or leave the column out"
        raise ValueError(f"{places[row]}: {what}")
    return FeatureFile(path, ids, columns, single, places)


# ---- joining


def match_ids(given: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """{wanted id: its row among `given`}: the same id, else the same but for the suffix of an image file, where no two
    ids differ in that alone.

    >>> match_ids(["2", "1.png", "9"], ["1.jpg", "2.jpg"])
    {'1.jpg': 1, '2.jpg': 0}
    """
    rows = {id: row for row, id in enumerate(given)}
    stems = _by_stem(given)
    own = _by_stem(wanted)
    found = {}
    for id in wanted:
        stem = id.removesuffix(image_suffix(id))
        alone = len(own[stem]) == 1 and len(stems.get(stem, ())) == 1
        if id in rows or alone:
            found[id] = rows[id] if id in rows else rows[stems[stem][0]]
    return found


def _by_stem(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id in ids:
        found.setdefault(id.removesuffix(image_suffix(id)), []).append(id)
    return found


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
            raise ValueError(f"{split.upper()}=<file> is missing: the {len(ids):,} rows of {split} need features too")
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
            raise ValueError(f"{file.places[extra[0]]}: {what}; delete these rows")
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


# ---- the files below input/COMP/features/NAME


def values_file(paths: Paths, name: str, split: str) -> Path:
    return paths.added_features(name) / f"{split}.npy"


def ids_file(paths: Paths, name: str, split: str) -> Path:
    return paths.added_features(name) / f"{split}.ids.json"


def record_file(paths: Paths, name: str) -> Path:
    """The file that is written last: features without it are not there."""
    return paths.added_features(name) / "features.json"


def read_records(paths: Paths) -> dict[str, dict[str, Any]]:
    """{name: reads, columns, digest, ...} of all features that were added."""
    files = sorted(paths.added_features(".").glob("*/features.json"))
    return {file.parent.name: read_json(file) for file in files}


def read_joints(paths: Paths) -> dict[str, Joint]:
    """{name: what they were computed from} of the same."""
    return {name: record["reads"] for name, record in read_records(paths).items()}


def content_digest(splits: Mapping[str, Sequence[str]], values: Mapping[str, np.ndarray], reads: Joint) -> str:
    return digest([reads, {split: [list(ids), digest_of(values[split])] for split, ids in splits.items()}])


def digest_of(values: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(values).tobytes() + str(values.shape).encode()).hexdigest()[:16]


def write_added(
    paths: Paths,
    name: str,
    splits: Mapping[str, Sequence[str]],
    values: Mapping[str, np.ndarray],
    about: dict[str, Any],
) -> None:
    """Writes the values (n, d) and ids of each split, and last the record `about` them."""
    record_file(paths, name).unlink(missing_ok=True)
    for old in paths.added_features(name).glob("*"):
        old.unlink()
    for split, ids in splits.items():
        write_json(ids_file(paths, name, split), list(ids))
        write_with(values_file(paths, name, split), partial(_save, values=values[split]))
    write_json(record_file(paths, name), about)


def _save(path: Path, values: np.ndarray) -> None:
    with path.open("wb") as file:
        np.save(file, values, allow_pickle=False)


def added_files(paths: Paths, name: str, split: str) -> tuple[Path, Path]:
    """The files that the features of one split are read from."""
    return values_file(paths, name, split), ids_file(paths, name, split)


def read_added(paths: Paths, name: str, split: str, ids: Sequence[str]) -> np.ndarray:
    """(n, 1, d) float32 in the order of `ids`; raises ValueError where some have none."""
    how = HOW.format(comp=paths.comp, name=name)
    if not (file := values_file(paths, name, split)).is_file():
        raise FileNotFoundError(f"{file} does not exist: the rows of {split} have no features {name!r}; {how}")
    stored = read_json(ids_file(paths, name, split))
    array = np.load(file, mmap_mode="r", allow_pickle=False)[:, None]
    if stored == list(ids):
        return array
    row = {id: i for i, id in enumerate(stored)}
    if missing := [id for id in ids if id not in row]:
        raise ValueError(f"{file}: {len(missing):,} ids have no features {name!r}, first: {missing[0]!r}; {how}")
    return array[[row[id] for id in ids]]
