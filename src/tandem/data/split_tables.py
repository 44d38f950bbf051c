"""The checked tables of a competition in parquet files: images, captions and labels, written and read here.

`make check` writes each only when its content changes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_if_changed
from tandem.artifacts.column_names import own_column, read_parquet
from tandem.artifacts.paths import Paths

IMAGE_SCHEMA = pa.schema(
    # file: relative to the competition's folder; sha: 16 hex digits of the SHA-256; hash: see thumbnails.py
    {"id": pa.string(), "file": pa.string(), "width": pa.int32(), "height": pa.int32()}
    | {"bytes": pa.int64(), "sha": pa.string(), "hash": pa.binary()}
)
CAPTION_SCHEMA = pa.schema([("id", pa.string()), ("caption", pa.string())])


def _write(path: Path, table: pa.Table) -> bool:
    return write_if_changed(path, lambda partial: pq.write_table(table, partial))


def write_images(path: Path, columns: Mapping[str, list]) -> bool:
    """`columns` as IMAGE_SCHEMA names them, rows in the order of the CSV; True if the file changed."""
    return _write(path, pa.table(dict(columns), schema=IMAGE_SCHEMA))


def write_captions(path: Path, ids: list[str], captions: list[str]) -> bool:
    return _write(path, pa.table({"id": ids, "caption": captions}, schema=CAPTION_SCHEMA))


def write_labels(path: Path, ids: list[str], names: tuple[str, ...], y: np.ndarray) -> bool:
    """`y` is (n, c) of 0 and 1; one uint8 column per label name."""
    columns = [pa.array(ids, pa.string())] + [pa.array(y[:, j].astype(np.uint8)) for j in range(len(names))]
    return _write(path, pa.Table.from_arrays(columns, names=[own_column("id", names), *names]))


def read_images(path: Path) -> dict[str, list]:
    """The columns that IMAGE_SCHEMA names."""
    return pq.read_table(path).to_pydict()


def read_image_rows(path: Path) -> dict[str, list]:
    """The same without `hash`, which takes 4 kB a row and is needed for the folds only."""
    return pq.read_table(path, columns=[name for name in IMAGE_SCHEMA.names if name != "hash"]).to_pydict()


def read_captions(path: Path) -> tuple[list[str], list[str]]:
    """(ids, captions), each (n,), in the order of the CSV."""
    table = pq.read_table(path)
    return table["id"].to_pylist(), table["caption"].to_pylist()


def has_caption(caption: str) -> bool:
    """Whether there is more than white space: a row without such a text is one without a caption."""
    return bool(caption.strip())


def read_captioned(paths: Paths, split: str, ids: Sequence[str]) -> np.ndarray:
    """(n,) bool: which of these rows have a caption; all do where the competition has no captions."""
    if not paths.captions(split).exists():
        return np.ones(len(ids), bool)
    caption = dict(zip(*read_captions(paths.captions(split)), strict=True))
    return np.array([has_caption(caption[id]) for id in ids], bool)


def word_counts(captions: Sequence[str]) -> np.ndarray:
    """(n,) number of words of each caption.

    >>> word_counts(["a cat", ""]).tolist()
    [2, 0]
    """
    return np.array([len(caption.split()) for caption in captions], np.int64)


def read_labels(path: Path) -> tuple[list[str], tuple[str, ...], np.ndarray]:
    """(ids, label names, y) with y (n, c) uint8."""
    table = read_parquet(path)
    names = tuple(table.column_names[1:])
    y = np.column_stack([table.column(j + 1).to_numpy() for j in range(len(names))])
    return table.column(0).to_pylist(), names, y
