"""Tables with a column for each label, beside columns of their own."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from tandem.artifacts.parquet_limits import check_texts, checked_parquet
from tandem.artifacts.whole_files import reading

PARQUET = "a parquet file"


def own_column(name: str, labels: Iterable[str]) -> str:
    """The name, with underscores after it where a label has it; a column of a label always has the label's name.

    >>> own_column("image", ["cat"]), own_column("image", ["image", "image_"])
    ('image', 'image__')
    """
    taken = set(labels)
    while name in taken:
        name += "_"
    return name


def read_parquet(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """These columns, or all, whatever their names (pq.read_table refuses repeated names and some of its own); raises
    DamagedFile where it is not what was written."""
    with reading(path, PARQUET), checked_parquet(path) as checked:
        check_texts(checked, columns)
        table = checked.file.read(columns if columns is None else list(columns))
        if missing := set(columns or ()) - set(table.column_names):
            raise ValueError(f"no column {min(missing)!r}")
        return table


def parquet_batches(path: Path, rows: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The same, at most so many rows at a time."""
    with reading(path, PARQUET), checked_parquet(path) as checked:
        yield from checked.file.iter_batches(rows, columns=columns)
