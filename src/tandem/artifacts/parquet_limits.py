"""Limits of parquet files: what the footer claims is checked first, then the texts as they are decoded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.parquet_footer import Claim, row_groups

MAX_FOOTER = 32 * 2**20  # bytes; a column takes some 200 in each row group
MAX_ROWS, MAX_COLUMNS = 100_000_000, 100_000
MAX_DEPTH = 16  # of lists and structs in a column
MAX_BYTES = 16 * 2**30  # decoded
WIDTH = {"BOOLEAN": 1, "INT32": 4, "INT64": 8, "INT96": 8, "FLOAT": 4, "DOUBLE": 8}  # bytes of a decoded value
CHECKED_BATCH = 128  # rows: a text may be in the file once and in every row
END = b"PAR1"


@dataclass(frozen=True)
class Checked:
    """An open file, and the claims of its footer for each row group and column."""

    file: pq.ParquetFile
    claims: list[Claim]


@contextmanager
def checked_parquet(path: Path) -> Iterator[Checked]:
    """The open file; raises ValueError where its footer says more than the limits, or there is none."""
    groups = row_groups(_footer(path))
    with pq.ParquetFile(path, pre_buffer=False) as file:
        claims = [claim for _, columns in groups for claim in columns]
        _check_footer(file, sum(rows for rows, _ in groups), claims)
        yield Checked(file, claims)


def _footer(path: Path) -> bytes:
    """Its length is in the last bytes: pyarrow would read as much as they say."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(size - 8, 0))
        length, end = int.from_bytes(file.read(4), "little"), file.read(4)
        if size < 12 or end != END or length > size - 12:
            raise ValueError(f"no footer in its {size} bytes")
        if length > MAX_FOOTER:
            raise ValueError(f"a footer of {length} bytes; at most {MAX_FOOTER}")
        file.seek(size - 8 - length)
        return file.read(length)


def _check_footer(file: pq.ParquetFile, rows: int, claims: list[Claim]) -> None:
    about = file.metadata
    if not 0 <= about.num_rows <= MAX_ROWS or about.num_columns > MAX_COLUMNS:
        limits = f"{MAX_ROWS:,} rows and {MAX_COLUMNS:,} columns"
        raise ValueError(f"{about.num_rows:,} rows, {about.num_columns:,} columns; at most {limits}")
    paths = (file.schema.column(j).path for j in range(about.num_columns))
    if deep := next((name for name in paths if name.count(".") > 2 * MAX_DEPTH), None):
        raise ValueError(f"column {deep[:60]!r}... is nested; at most {MAX_DEPTH} levels are read")
    size = sum(max(claim.size, claim.values * WIDTH.get(claim.kind, 0)) for claim in claims)
    if size > MAX_BYTES or rows != about.num_rows:
        raise ValueError(f"{about.num_rows:,} rows of {size:,} bytes; at most {MAX_BYTES:,} bytes are read")


def check_texts(checked: Checked, columns: Sequence[str] | None = None) -> None:
    """Raises ValueError where texts or bytes are more than the limit once decoded, which no footer says."""
    file, schema = checked.file, checked.file.schema_arrow
    texts = [field.name for field in schema if not pa.types.is_primitive(field.type)]
    texts = sorted(set(texts).intersection(texts if columns is None else columns))
    claimed = sum(claim.size for claim in checked.claims if claim.kind not in WIDTH)
    if not texts or file.metadata.num_rows * claimed <= MAX_BYTES:
        return
    size = 0
    for batch in file.iter_batches(CHECKED_BATCH, columns=texts, use_threads=False):
        size += batch.nbytes
        if size > MAX_BYTES:
            raise ValueError(f"its texts have more than {MAX_BYTES:,} bytes; that is not read")
