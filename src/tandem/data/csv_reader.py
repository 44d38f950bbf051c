"""Reading CSV files exactly, also those whose writer left quotes inside a quoted text unescaped."""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

from tandem.data.csv_grammar import bare_quotes, one_kind, row_starts
from tandem.data.csv_repair import Ambiguous, Flaw, WrongWidth, read_unescaped

MAX_BYTES = 2**30


@dataclass(frozen=True)
class Repair:
    """A row that no CSV reader takes as it stands: its first line in the file (from 1), and its raw text."""

    line: int
    text: str


@dataclass(frozen=True)
class Table:
    """A CSV file, exact to the character.

    columns   the header's names, none empty or repeated
    rows      one cell a column
    lines     the line in the file where each row starts, from 1
    repaired  the rows whose inner quotes were not escaped
    """

    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[int]
    repaired: list[Repair] = field(default_factory=list)

    def column(self, name: str) -> list[str]:
        if name not in self.columns:
            raise ValueError(f"no column {name!r}; known columns are {list(self.columns)}")
        j = self.columns.index(name)
        return [row[j] for row in self.rows]


def read_table(path: Path) -> Table:
    """Every row, or ValueError with file and line where one can't be read with certainty."""
    lines = _lines(path)
    try:
        first, columns = _header(lines)
        return _body(lines, first, columns)
    except Flaw as flaw:
        raise ValueError(f"{path}: line {flaw.line}: {flaw}") from None


def _lines(path: Path) -> list[str]:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; CSV files up to {MAX_BYTES} bytes are read")
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError(f"{path}: line 1: the file is UTF-16; save it as UTF-8")
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise ValueError(f"{path}: line {line}: holds a NUL byte; expected a text file in UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        wrong = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise ValueError(f"{path}: line {line}: {wrong}; save the file as UTF-8") from error
    if "\n" not in text:
        text = text.replace("\r", "\n")  # the line ends of old spreadsheets
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
        raise Flaw(1, f"the header can't be read: {error}; expected the names of the columns") from error
    line = reader.line_num
    unnamed = [j for j, name in enumerate(columns, 1) if not name.strip()]
    if unnamed:
        raise Flaw(line, f"column {unnamed[0]} of the header has no name; give it one")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise Flaw(line, f"the header repeats {repeated}; give every column its own name")
    if len(columns) == 1 and any(mark in columns[0] for mark in ";\t"):
        raise Flaw(line, f"the header {columns[0]!r} has no comma; save the file with commas between columns")
    return line, columns


def _body(lines: list[str], first: int, columns: tuple[str, ...]) -> Table:
    width = len(columns)
    try:
        strict = _strict_rows(lines, first, width)
    except Flaw as flaw:
        if width == 1:
            raise
        try:
            return _repaired(lines, columns, read_unescaped(lines, first, width, flaw))
        except Flaw as deeper:
            raise (flaw if isinstance(flaw, WrongWidth) and flaw.line >= deeper.line else deeper) from None
    plain = Table(columns, [row for _, row in strict], [line for line, _ in strict])
    if not strict or width == 1:
        return plain
    starts = set(plain.lines)
    inside = [lines[i] for i in range(first, len(lines)) if i + 1 not in starts]
    bare = bare_quotes([lines[line - 1] for line in plain.lines], width)
    keys = [row[0] for row in plain.rows]
    if not bare and not row_starts(inside, keys):
        return plain
    # Valid CSV, but a line inside a text starts like a row, or a quote stands where CSV needs none.
    try:
        other = read_unescaped(lines, first, width, valid=dict(zip(plain.lines, keys, strict=True)))
    except Ambiguous:
        raise
    except Flaw:
        if bare or not one_kind(keys):
            raise
        return plain
    differs = [row.line for row, cells in zip(other, plain.rows, strict=False) if row.cells != cells]
    if differs or len(other) != len(plain.rows) or (bare and not one_kind(keys)):
        raise Ambiguous(min(differs, default=other[-1].line))
    return plain


def _strict_rows(lines: list[str], first: int, width: int) -> list[tuple[int, tuple[str, ...]]]:
    """(first line, cells) of each row by RFC 4180; raises Flaw at the first row that breaks it."""
    rows = []
    reader = csv.reader(lines[first:], strict=True)
    line = first + 1
    try:
        for row in reader:
            if row and len(row) != width:
                raise WrongWidth(line, f"{len(row)} columns, the header has {width}")
            if row:
                rows.append((line, tuple(row)))
            line = first + reader.line_num + 1
    except csv.Error as error:
        raise Flaw(line, f"not valid CSV: {error}") from error
    return rows


def _repaired(lines: list[str], columns: tuple[str, ...], found: list) -> Table:
    ends = [row.line - 1 for row in found[1:]] + [len(lines)]
    repaired = [
        Repair(row.line, "".join(lines[row.line - 1 : end]).rstrip("\r\n"))
        for row, end in zip(found, ends, strict=True)
        if row.repaired
    ]
    return Table(columns, [row.cells for row in found], [row.line for row in found], repaired)
