"""Features on disk: float16, written in chunks so that a killed run continues, with their content key."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.runtime.progress import progress

CHUNK = 512  # rows between two saved states of a run; a multiple of every encoder's batch
Encode = Callable[[int], Iterator[np.ndarray]]


def write_features(path: Path, ids: Sequence[str], encode: Encode, made_from: Mapping[str, Any], unit: str) -> None:
    """Writes (n, views, ...) float16 to `path`, its ids, shape and `made_from` beside it; `encode(start)` yields blocks
    from row `start` on. Raises ValueError where a value is not finite in float16."""
    key = made_from["key"]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, state = path.with_suffix(".partial.npy"), path.with_suffix(".partial.json")
    done = _resume(partial, state, key)
    array = np.load(partial, mmap_mode="r+") if done else None
    with progress(len(ids), path.name.rsplit(".", 1)[0], unit, done) as bar:
        row = saved = done
        for block in encode(done):
            if array is None:
                array = np.lib.format.open_memmap(partial, "w+", np.float16, (len(ids), *block.shape[1:]))
            half = block.astype(np.float16)
            if not np.isfinite(half).all():
                raise ValueError(f"{path}: features of row {row + 1} or after are not finite in float16")
            array[row : row + len(half)] = half
            row += len(half)
            bar.update(len(half))
            if row - saved >= CHUNK and row % CHUNK == 0:
                array.flush()
                write_json(state, {"key": key, "rows": row})
                saved = row
    if array is None or row != len(ids):
        raise ValueError(f"{path}: the encoder returned {row} rows, expected {len(ids)}")
    array.flush()
    whole = list(array.shape)
    del array
    path.unlink(missing_ok=True)  # a killed run must not leave old features with the new key
    write_json(path.with_suffix(".ids.json"), list(ids))
    write_json(path.with_suffix(".meta.json"), {**made_from, "shape": whole})
    partial.rename(path)
    state.unlink(missing_ok=True)


def _resume(partial: Path, state: Path, key: str) -> int:
    with suppress(FileNotFoundError, json.JSONDecodeError, KeyError):
        saved = read_json(state)
        if saved["key"] == key and partial.exists():
            return saved["rows"]
    partial.unlink(missing_ok=True)
    state.unlink(missing_ok=True)
    return 0


def read_features(path: Path, ids: Sequence[str]) -> np.ndarray:
    """(n, views, ...) float16 in the order of `ids`; a memory map where that is the order on disk."""
    try:
        return rows_by_id(np.load(path, mmap_mode="r"), read_json(path.with_suffix(".ids.json")), ids, "features")
    except ValueError as error:
        raise ValueError(f"{path}: {error}; run make features") from error
