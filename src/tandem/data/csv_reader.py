"""Reads CSV files exactly, including those with unescaped quotes inside quoted texts."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from tandem.data.csv_grammar import are_uniform, has_row_start, mixes_quotes
from tandem.data.csv_repair import AmbiguousRow, CsvError, Row, WrongWidth, read_unescaped

MAX_BYTES = 2**30


@dataclass(frozen=True)
class Table:
    """The content of a CSV file."""

    columns: tuple[str, ...]  # none empty or repeated
    rows: list[tuple[str, ...]]  # one cell per column
    lines: list[int]  # first line of each row in the file, from 1
    repaired: dict[int, str] = field(default_factory=dict)  # {first line: raw text} of rows that are not valid CSV

    def column(self, name: str) -> list[str]:
        """(n,) cells; raises ValueError where there is no such column."""
        if name not in self.columns:
            raise ValueError(f"no column {name!r}; known columns are {list(self.columns)}")
        j = self.columns.index(name)
        return [row[j] for row in self.rows]


def read_table(path: Path) -> Table:
    """All rows; raises ValueError with file and line where a row is ambiguous."""
    lines = _lines(path)
    try:
        return _body(lines, *_header(lines))
    except CsvError as error:
        raise ValueError(f"{path}: line {error.line}: {error}") from None


def _lines(path: Path) -> list[str]:
    """The lines with their ends, without empty ones at the end of the file."""
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; CSV files up to {MAX_BYTES} bytes are read")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path}: line 1: the file is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise ValueError(f"{path}: line {line}: contains a NUL byte; expected a text file in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ValueError(f"{path}: line {line}: {wrong}; save the file as UTF-8") from error
    if "\n" not in text:
        text = text.replace("\r", "\n")  # line ends of old spreadsheets
    if not text.strip():
        raise ValueError(f"{path}: the file is empty; expected a header line with the names of the columns")
    lines = list(io.StringIO(text, newline="\n"))
    while not lines[-1].strip():
        lines.pop()
    return lines


def _header(lines: list[str]) -> tuple[int, tuple[str, ...]]:
    """(index of the first line below the header, names of the columns)."""
    reader = csv.reader(lines, strict=True)
    try:
        columns = next(tuple(row) for row in reader if row)
    except (csv.Error, StopIteration) as error:
        raise CsvError(1, f"the header cannot be read: {error}; expected the names of the columns") from error
    line = reader.line_num
    if unnamed := [j for j, name in enumerate(columns, 1) if not name.strip()]:
        raise CsvError(line, f"column {unnamed[0]} of the header has no name; give it one")
    if repeated := sorted({name for name in columns if columns.count(name) > 1}):
        raise CsvError(line, f"the header repeats {repeated}; give every column its own name")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise CsvError(line, f"the header {columns[0]!r} has no comma; save the file with commas between columns")
    return line, columns


def _body(lines: list[str], first: int, columns: tuple[str, ...]) -> Table:
    width = len(columns)
    try:
        plain = _strict_rows(lines, first, columns)
    except CsvError as error:
        if width == 1:
            raise
        try:
            return _repaired(lines, columns, read_unescaped(lines, first, width, error))
        except CsvError as second:
            raise (error if isinstance(error, WrongWidth) and error.line >= second.line else second) from None
    if not plain.rows or width == 1:
        return plain
    starts = set(plain.lines)
    inside = [lines[i] for i in range(first, len(lines)) if i + 1 not in starts]
    mixed = mixes_quotes([lines[line - 1] for line in plain.lines], width)
    keys = [row[0] for row in plain.rows]
    if not mixed and not has_row_start(inside, keys):
        return plain
    # Valid CSV, but a line inside a text starts like a row, or there are quotes in unquoted cells.
    try:
        other = read_unescaped(lines, first, width, valid=dict(zip(plain.lines, keys, strict=True)))
    except CsvError as error:
        if isinstance(error, AmbiguousRow) or mixed or not are_uniform(keys):
            raise
        return plain
    differs = [row.line for row, cells in zip(other, plain.rows, strict=False) if row.cells != cells]
    if differs or len(other) != len(plain.rows) or (mixed and not are_uniform(keys)):
        raise AmbiguousRow(min(differs, default=other[-1].line))
    return plain


def _strict_rows(lines: list[str], first: int, columns: tuple[str, ...]) -> Table:
    """The rows by RFC 4180; raises CsvError at the first invalid one."""
    table = Table(columns, [], [])
    reader = csv.reader(lines[first:], strict=True)
    line = first + 1
    try:
        for row in reader:
            if row and len(row) != len(columns):
                raise WrongWidth(line, f"{len(row)} columns, the header has {len(columns)}")
            if row:
                table.rows.append(tuple(row))
                table.lines.append(line)
            line = first + reader.line_num + 1
    except csv.Error as error:
        raise CsvError(line, f"not valid CSV: {error}") from error
    return table


def _repaired(lines: list[str], columns: tuple[str, ...], rows: list[Row]) -> Table:
    ends = [row.line - 1 for row in rows[1:]] + [len(lines)]
    texts = {row.line: "".join(lines[row.line - 1 : end]) for row, end in zip(rows, ends, strict=True) if row.repaired}
    repaired = {line: text.rstrip("\r\n") for line, text in texts.items()}
    return Table(columns, [row.cells for row in rows], [row.line for row in rows], repaired)
