"""The checked tables of a competition in parquet files: images, captions and labels, written and read here.

`make check` writes each only when its content changes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import write_if_changed
from tandem.artifacts.column_names import own_column, parquet_batches, read_parquet
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import reading
from tandem.data.caption_rows import join_captions
from tandem.data.hash_store import HashStore

IMAGE_SCHEMA = pa.schema(
    # file: relative to the competition's folder; sha: 16 hex digits of the SHA-256; hash: see thumbnails.py
    {"id": pa.string(), "file": pa.string(), "width": pa.int32(), "height": pa.int32()}
    | {"bytes": pa.int64(), "sha": pa.string(), "hash": pa.binary()}
)
ROW_GROUP = 4000  # rows of the table of images that are in memory at once, 4 kB each
CAPTION_SCHEMA = pa.schema([("id", pa.string()), ("caption", pa.string())])


@dataclass(frozen=True)
class OwnFolds:
    """What the user's tables say of the folds of the training rows; None where they say nothing."""

    fold: Sequence[str] | None = None  # (n,) as written
    group: Sequence[str] | None = None  # (n,) rows with equal cells stay together; "" is a row of its own

    def __bool__(self) -> bool:
        return self.fold is not None or self.group is not None


def _write(path: Path, table: pa.Table) -> bool:
    return write_if_changed(path, lambda partial: pq.write_table(table, partial))


def write_images(path: Path, columns: Mapping[str, list]) -> bool:
    """`columns` as IMAGE_SCHEMA names them, rows in the order of the CSV; True if the file changed."""

    def write(partial: Path) -> None:
        with pq.ParquetWriter(partial, IMAGE_SCHEMA) as writer:
            for start in range(0, max(1, len(columns["id"])), ROW_GROUP):
                part = {name: cells[start : start + ROW_GROUP] for name, cells in columns.items()}
                writer.write_table(pa.table(part | {"hash": list(map(bytes, part["hash"]))}, schema=IMAGE_SCHEMA))

    return write_if_changed(path, write)


def write_captions(path: Path, ids: list[str], captions: Sequence[str | Sequence[str]]) -> bool:
    """A text or a list of texts for each row; the column `captions` of lists is there where a row has several."""
    lists = [[texts] if isinstance(texts, str) else list(texts) or [""] for texts in captions]
    table = pa.table({"id": ids, "caption": [join_captions(texts) for texts in lists]}, schema=CAPTION_SCHEMA)
    if any(len(texts) > 1 for texts in lists):
        table = table.append_column("captions", pa.array(lists, pa.list_(pa.string())))
    return _write(path, table)


def write_labels(
    path: Path, ids: list[str], names: tuple[str, ...], y: np.ndarray, known: np.ndarray | None = None
) -> bool:
    """`y` is (n, c) of 0 and 1; one uint8 column per label name, null where a cell is not `known` (n, c) bool."""
    masks = [None] * len(names) if known is None else list(~known.T)
    cells = (pa.array(column, mask=mask) for column, mask in zip(y.astype(np.uint8).T, masks, strict=True))
    return _write(
        path, pa.Table.from_arrays([pa.array(ids, pa.string()), *cells], names=[own_column("id", names), *names])
    )


def write_own_folds(path: Path, ids: list[str], own: OwnFolds) -> bool:
    """Column `id`, then `fold` and `group` where they are given."""
    columns = {name: list(cells) for name, cells in vars(own).items() if cells is not None}
    return _write(path, pa.table({"id": ids, **columns}))


def read_own_folds(path: Path) -> OwnFolds:
    """Empty where there is no such file."""
    columns = read_parquet(path).to_pydict() if path.exists() else {}
    return OwnFolds(columns.get("fold"), columns.get("group"))


def read_images(path: Path) -> dict[str, list]:
    """The columns that IMAGE_SCHEMA names; the hashes stay in a file, so that they take no memory."""
    found, store = read_image_rows(path), HashStore()
    batches = (batch.column("hash").to_pylist() for batch in parquet_batches(path, ROW_GROUP, ["hash"]))
    return found | {"hash": [hash for hashes in batches for hash in store.keep(hashes)]}


def read_ids(path: Path) -> list[str]:
    """The ids of one table's rows, in its order."""
    return read_parquet(path, ["id"])["id"].to_pylist()


def read_image_rows(path: Path) -> dict[str, list]:
    """The same without `hash`, which takes 4 kB a row and is needed for the folds only."""
    return read_parquet(path, [name for name in IMAGE_SCHEMA.names if name != "hash"]).to_pydict()


def read_captions(path: Path) -> tuple[list[str], list[str]]:
    """(ids, captions), each (n,), in the order of the CSV; several captions of a row are joined."""
    table = read_parquet(path, ["id", "caption"])
    return table["id"].to_pylist(), table["caption"].to_pylist()


def read_caption_lists(path: Path) -> list[list[str]]:
    """(n,) the captions of each row, at least one, which may be empty."""
    table = read_parquet(path)
    if "captions" in table.column_names:
        return table["captions"].to_pylist()
    return [[caption] for caption in table["caption"].to_pylist()]


def has_caption(caption: str) -> bool:
    """Whether there is more than white space: a row without such a text is one without a caption."""
    return bool(caption.strip())


def read_captioned(paths: Paths, split: str, ids: Sequence[str]) -> np.ndarray:
    """(n,) bool: which of these rows have a caption; all do where the competition has no captions."""
    if not paths.captions(split).exists():
        return np.ones(len(ids), bool)
    caption = dict(zip(*read_captions(paths.captions(split)), strict=True))
    return np.array([has_caption(caption[id]) for id in ids], bool)


def read_labels(path: Path) -> tuple[list[str], tuple[str, ...], np.ndarray, np.ndarray | None]:
    """(ids, label names, y, known) with y (n, c) uint8, 0 where a label is unknown, and known (n, c) bool, None where
    all labels of all rows are known."""
    table = read_parquet(path)
    names, columns = tuple(table.column_names[1:]), table.columns[1:]
    with reading(path, "a table of labels"):
        y = np.column_stack([column.fill_null(0).to_numpy() for column in columns]).astype(np.uint8)
    known = None
    if any(column.null_count for column in columns):
        known = np.column_stack([column.is_valid().to_numpy() for column in columns])
    return table.column(0).to_pylist(), names, y, known


def read_given_labels(paths: Paths) -> tuple[list[str], tuple[str, ...], np.ndarray, np.ndarray | None]:
    """As `read_labels`, of the training rows before corrections."""
    return read_labels(paths.given_labels if paths.given_labels.exists() else paths.labels)
