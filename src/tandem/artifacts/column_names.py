"""Tables with a column for each label, beside columns of their own."""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def own_column(name: str, labels: Iterable[str]) -> str:
    """The name, with underscores after it where a label has it; a column of a label always has the label's name.

    >>> own_column("image", ["cat"]), own_column("image", ["image", "image_"])
    ('image', 'image__')
    """
    taken = set(labels)
    while name in taken:
        name += "_"
    return name


def read_parquet(path: Path | str) -> pa.Table:
    """All columns, whatever their names; pq.read_table refuses repeated names and some of its own."""
    with pq.ParquetFile(path) as file:
        return file.read()
