"""Features that the user added, kept in input/COMP/features/NAME: values and ids of each split, and a record."""

import hashlib
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np

from tandem.artifacts.array_file import map_array
from tandem.artifacts.atomic_io import digest, read_json, write_json, write_with
from tandem.artifacts.paths import Paths
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.config.encoders import Joint

HOW = "run: make add-features COMP={comp} FILE={name}.parquet NAME={name} AGAIN=1"


def values_file(paths: Paths, name: str, split: str) -> Path:
    return paths.added_features(name) / f"{split}.npy"


def ids_file(paths: Paths, name: str, split: str) -> Path:
    return paths.added_features(name) / f"{split}.ids.json"


def record_file(paths: Paths, name: str) -> Path:
    """The file that is written last: features without it are not there."""
    return paths.added_features(name) / "features.json"


def read_records(paths: Paths) -> dict[str, dict[str, Any]]:
    """{name: reads, columns, digest, ...} of all features that were added; other files of this name are the data's."""
    files = sorted(paths.added_features(".").glob("*/features.json"))
    records = {file.parent.name: read_json(file) for file in files}
    return {name: record for name, record in records.items() if _is_record(record)}


def _is_record(found: Any) -> bool:
    return isinstance(found, dict) and found.get("reads") in get_args(Joint) and "digest" in found


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
    array, there = map_array(file, how)[:, None], read_json(ids_file(paths, name, split))
    try:
        return rows_by_id(array, there, ids, f"features {name!r}")
    except ValueError as error:
        raise ValueError(f"{file}: {error}; {how}") from error
