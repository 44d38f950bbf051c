"""Reads tables exactly: CSV files, also with unescaped quotes inside quoted texts, other delimiters, JSON-lines."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tandem.data.csv_chunks import read_plain
from tandem.data.csv_grammar import are_uniform, has_row_start, mixes_quotes
from tandem.data.csv_repair import AmbiguousRow, CsvError, Row, WrongWidth, read_unescaped
from tandem.data.json_table import STARTS_JSON, SUFFIXES, read_json_rows
from tandem.data.table_formats import DELIMITERS, OF_SUFFIX, SEP_LINE, Translation, delimiters_of, find_spacing
from tandem.data.table_header import UNNAMED, Header, HeaderError, find_second_header, name_columns, read_header
from tandem.data.table_text import MAX_BYTES, TableQuestion, read_text


@dataclass(frozen=True)
class Table:
    """The content of a table file."""

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

    @property
    def row_numbers(self) -> tuple[str, ...]:
        """The columns that number the rows, as pandas writes them: without a name of their own, whole numbers."""
        unnamed = [name for name in self.columns if UNNAMED.fullmatch(name)]
        return tuple(name for name in unnamed if self.rows and all(cell.isdecimal() for cell in self.column(name)))


def read_table(path: Path, encoding: str | None = None, columns: Sequence[str] | None = None) -> Table:
    """All rows; `encoding` is that of files that are not UTF-8, `columns` the names where there is no header line.

    Raises TableQuestion where the encoding or the names of the columns are missing, and ValueError with file and line
    where a row is ambiguous.
    """
    csv.field_size_limit(MAX_BYTES)  # of the whole process; 131,072 without it
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and (plain := read_plain(path, columns)):
        return Table(*plain)
    text = read_text(path, encoding)
    try:
        if suffix in SUFFIXES:
            return Table(*read_json_rows(text, is_list=suffix == ".json"))
        if STARTS_JSON.match(text):
            raise CsvError(1, "the file holds JSON, not columns; if it is a table, end its name with .json or .jsonl")
        return _csv_table(text, suffix, columns)
    except CsvError as error:
        message = f"{path}: line {error.line}: {error}"
        if isinstance(error, WrongWidth) and columns:
            message += f"; columns are given as {', '.join(columns)}"
        if isinstance(error, HeaderError) and error.question:
            raise TableQuestion(message, error.question) from None
        raise ValueError(message) from None


def _csv_table(text: str, suffix: str, columns: Sequence[str] | None) -> Table:
    """The one delimiter that fits decides; raises CsvError where none does, or more than one."""
    one = columns is not None and len(columns) == 1
    delimiters = [OF_SUFFIX.get(suffix, ",")] if one else delimiters_of(text, suffix)
    if sep := SEP_LINE.match(text):
        delimiters, text = [sep[1]], sep[2] + text[sep.end() :]
    if len(delimiters) == 1:
        return _delimited(text, delimiters[0], columns)
    tables: dict[str, Table] = {}
    errors: list[str] = []
    for delimiter in delimiters:
        try:
            tables[delimiter] = _delimited(text, delimiter, columns)
        except CsvError as error:
            errors.append(f"not by {DELIMITERS[delimiter]} (line {error.line}: {error})")
    if not tables:
        raise CsvError(1, f"the columns are separated {', '.join(errors)}")
    if len(tables) > 1 and OF_SUFFIX.get(suffix) not in tables:
        fits = " or ".join(f"{DELIMITERS[mark]} ({', '.join(table.columns)})" for mark, table in tables.items())
        first = " or ".join(f"sep={mark}" for mark in tables)
        raise CsvError(1, f"the columns may be separated by {fits}; write {first} as a line of its own above them")
    return tables.get(OF_SUFFIX.get(suffix, ""), next(iter(tables.values())))


def _delimited(text: str, delimiter: str, columns: Sequence[str] | None) -> Table:
    to_comma = Translation.make(text, delimiter)
    try:
        lines = _lines(to_comma.there(text))
        header = read_header(lines, [to_comma.there(name) for name in columns] if columns else None)
        if line := find_second_header(lines, header):
            raise CsvError(line, "repeats the header; remove this line if two files were joined here")
        table = _rows(lines, header)
        index = name_columns(header, table.columns, table.rows)
    except CsvError as error:
        error.args = (to_comma.restore(str(error)),)
        raise
    kept = [i for i, row in enumerate(table.rows) if any(cell.strip() for cell in row)]
    return Table(
        tuple(map(to_comma.back, index)),
        [tuple(to_comma.back(table.rows[i][j]) for j in index.values()) for i in kept],
        [table.lines[i] for i in kept],
        {line: to_comma.back(raw) for line, raw in table.repaired.items()},
    )


def _lines(text: str) -> list[str]:
    """The lines with their ends, without empty ones at the end of the file."""
    lines = list(io.StringIO(text, newline="\n"))
    while len(lines) > 1 and not lines[-1].strip():
        lines.pop()
    return lines


def _rows(lines: list[str], header: Header) -> Table:
    """All rows, with as many columns as they have; the names may be empty or repeated."""
    spacing = find_spacing(lines[max(header.line - 1, 0) :], header.cells)
    if spacing.everywhere or spacing.before_quotes:
        try:
            return _unspaced_rows(lines, header, spacing.on_both_sides)
        except CsvError as error:
            if spacing.everywhere:
                advice = "remove the spaces after the commas, and write each quote inside a quoted text twice"
                raise CsvError(error.line, f"{error}; {advice}") from None
    return _body(lines, header.line, _widened(lines, header))


def _unspaced_rows(lines: list[str], header: Header, on_both_sides: bool) -> Table:
    """The rows of valid CSV without the spaces around the commas."""
    table = _strict_rows(lines, header.line, _widened(lines, header, spaced=True), spaced=True)
    inside = _lines_in_texts(lines, header.line, table)
    if table.rows and has_row_start(inside, [row[0] for row in table.rows]):
        line = lines.index(inside[0], header.line) + 1
        raise CsvError(line, "a text has lines that start like rows")
    rows = [tuple(cell.rstrip(" ") for cell in row) for row in table.rows] if on_both_sides else table.rows
    return Table(table.columns, rows, table.lines)


def _widened(lines: list[str], header: Header, spaced: bool = False) -> tuple[str, ...]:
    """The names, with or without empty ones at the end, as many as all rows have cells: one may end with a comma."""
    names = header.names
    reader = csv.reader(lines[header.line :], strict=True, skipinitialspace=spaced)
    try:
        n = next((len(row) for row in reader if any(cell.strip() for cell in row)), len(names))
        if n == len(names) or any(names[n:]) or len(names) == 1:
            return names
        wider = (*names[:n], *[""] * (n - len(names)))
        rows = _strict_rows(lines, header.line, wider, spaced).rows
    except (csv.Error, CsvError):
        return names
    filled = any(cell.strip() for row in rows for cell in row[len(names) :])
    return names if filled or any(line.rstrip().endswith(',""') for line in lines) else wider


def _lines_in_texts(lines: list[str], first: int, table: Table) -> list[str]:
    """The lines below the header that are not the first of a row."""
    starts = set(table.lines)
    return [lines[i] for i in range(first, len(lines)) if i + 1 not in starts]


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
    inside = _lines_in_texts(lines, first, plain)
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


def _strict_rows(lines: list[str], first: int, columns: tuple[str, ...], spaced: bool = False) -> Table:
    """The rows by RFC 4180; raises CsvError at the first invalid one."""
    table = Table(columns, [], [])
    reader = csv.reader(lines[first:], strict=True, skipinitialspace=spaced)
    line = first + 1
    try:
        for row in reader:
            if row and len(row) != len(columns) and lines[line - 1].strip():
                raise WrongWidth(line, f"{len(row)} columns, the header has {len(columns)}")
            if len(row) == len(columns):
                table.rows.append(tuple(row))
                table.lines.append(line)
            line = first + reader.line_num + 1
    except csv.Error as error:
        message = f"not valid CSV: {error}"
        if "new-line character" in message:
            message = "a carriage return (CR) stands in an unquoted cell; save the file with one kind of line end"
        raise CsvError(line, message) from error
    return table


def _repaired(lines: list[str], columns: tuple[str, ...], rows: list[Row]) -> Table:
    ends = [row.line - 1 for row in rows[1:]] + [len(lines)]
    texts = {row.line: "".join(lines[row.line - 1 : end]) for row, end in zip(rows, ends, strict=True) if row.repaired}
    repaired = {line: text.rstrip("\r\n") for line, text in texts.items()}
    return Table(columns, [row.cells for row in rows], [row.line for row in rows], repaired)
