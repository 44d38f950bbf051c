"""Limits of parquet files: what the footer claims is checked first, then the texts as they are decoded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

MAX_FOOTER = 128 * 2**20  # bytes
MAX_ROWS, MAX_COLUMNS = 100_000_000, 100_000
MAX_DEPTH = 16  # of lists and structs in a column
MAX_BYTES = 16 * 2**30  # decoded
WIDTH = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}  # bytes of a decoded value
CHECKED_BATCH = 128  # rows: a text may be in the file once and in every row
END = b"PAR1"


@contextmanager
def checked_parquet(path: Path) -> Iterator[pq.ParquetFile]:
    """The open file; raises ValueError where its footer says more than the limits, or there is none."""
    _check_ends(path)
    with pq.ParquetFile(path, pre_buffer=False) as file:
        _check_footer(file)
        yield file


def _check_ends(path: Path) -> None:
    """The length of the footer is in the last bytes: pyarrow would read as much as they say."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        length, end = int.from_bytes(file.read(4), "little"), file.read(4)
    if size < 12 or end != END or length > size - 12:
        raise ValueError(f"no footer in its {size} bytes")
    if length > MAX_FOOTER:
        raise ValueError(f"a footer of {length} bytes; at most {MAX_FOOTER}")


def _check_footer(file: pq.ParquetFile) -> None:
    about = file.metadata
    if not 0 <= about.num_rows <= MAX_ROWS or about.num_columns > MAX_COLUMNS:
        limits = f"{MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns"
        raise ValueError(f"{about.num_rows:,} rows, {about.num_columns:,} columns; at most {limits}")
    paths = (file.schema.column(j).path for j in range(about.num_columns))
    if deep := next((name for name in paths if name.count(".") > 2 * MAX_DEPTH), None):
        raise ValueError(f"column {deep[:60]!r}... is nested; at most {MAX_DEPTH} levels are read")
    rows = sum(about.row_group(i).num_rows for i in range(about.num_row_groups))
    size = sum(max(c.total_uncompressed_size, c.num_values * WIDTH.get(c.physical_type, 0)) for c in _chunks(about))
    if size > MAX_BYTES or rows != about.num_rows:
        raise ValueError(f"{about.num_rows:,} rows of {size:,} bytes; at most {MAX_BYTES:,} bytes are read")


def _chunks(about: pq.FileMetaData) -> Iterator[pq.ColumnChunkMetaData]:
    for i in range(about.num_row_groups):
        group = about.row_group(i)  # takes milliseconds
        yield from (group.column(j) for j in range(about.num_columns))


def check_texts(file: pq.ParquetFile, columns: Sequence[str] | None = None) -> None:
    """Raises ValueError where texts or bytes are more than the limit once decoded, which no footer says."""
    about, schema = file.metadata, file.schema_arrow
    texts = [field.name for field in schema if not pa.types.is_primitive(field.type)]
    texts = sorted(set(texts).intersection(texts if columns is None else columns))
    claimed = sum(c.total_uncompressed_size for c in _chunks(about) if c.physical_type not in WIDTH)
    if not texts or about.num_rows * claimed <= MAX_BYTES:
        return
    size = 0
    for batch in file.iter_batches(CHECKED_BATCH, columns=texts, use_threads=False):
        size += batch.nbytes
        if size > MAX_BYTES:
            raise ValueError(f"its texts have more than {MAX_BYTES:,} bytes; that is not read")
