"""Reads a plain CSV file part by part, so that neither its text nor its lines are in memory as a whole.

Plain is a file in UTF-8 with commas between its cells whose rows are one line each, as wide as the header, without
quotes inside unquoted cells. What is not plain is left to `csv_reader`, which looks at the whole text; both give the
same rows, and every error is one of `csv_reader`.
"""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from tandem.artifacts.user_files import open_file
from tandem.data import table_text
from tandem.data.csv_grammar import quotes_of_columns
from tandem.data.csv_repair import CsvError
from tandem.data.json_table import STARTS_JSON
from tandem.data.table_formats import OF_SUFFIX, SEP_LINE, Spacing, delimiters_of, find_spacing
from tandem.data.table_header import Header, find_second_header, read_header
from tandem.data.table_text import MARKS, find_problem, is_binary

CHUNK = 2**24  # bytes read at once
LONE_CR = re.compile(r"\r(?!\n)")

Rows = tuple[tuple[str, ...], list[tuple[str, ...]], list[int]]  # names of the columns, rows, first line of each


def read_plain(path: Path, columns: Sequence[str] | None = None, chunk: int = 0) -> Rows | None:
    """All rows of a plain file, None of another; `columns` are the names where there is no header line."""
    if OF_SUFFIX.get(path.suffix.lower(), ",") != ",":
        return None
    try:
        return _read(_chunks(path, chunk or CHUNK), path.suffix.lower(), columns)
    except (CsvError, UnicodeDecodeError, csv.Error, NotPlain):
        return None


class NotPlain(Exception):
    """The file has something that only its whole text explains."""


def _chunks(path: Path, size: int) -> Iterator[str]:
    """Texts of whole lines of about `size` bytes, the first one without its byte order mark."""
    rest, first = b"", True
    with open_file(path, table_text.MAX_BYTES) as file:
        while data := file.read(size):
            end = data.rfind(b"\n") + 1
            if end:
                yield _text(rest + data[:end], first)
                rest, first = data[end:], False
            else:
                rest += data
    if rest:
        yield _text(rest, first)


def _text(data: bytes, first: bool) -> str:
    if first and (is_binary(data) or any(data.startswith(mark) for mark in MARKS if MARKS[mark] != "utf-8-sig")):
        raise NotPlain
    text = data.decode("utf-8")
    text = text.lstrip("\ufeff") if first else text
    if "\0" in text or LONE_CR.search(text) or (text.strip() and find_problem(text, first)):
        raise NotPlain
    return text


def _read(chunks: Iterator[str], suffix: str, columns: Sequence[str] | None) -> Rows:
    header, line = None, 0
    rows: list[tuple[str, ...]] = []
    numbers: list[int] = []
    for text in chunks:
        lines = list(io.StringIO(text, newline="\n"))
        below = lines
        if header is None:
            header = _header(text, lines, suffix, columns)
            lines, below, line = lines[max(header.line - 1, 0) :], lines[header.line :], header.line
        if find_spacing(lines, header.cells) != Spacing() or find_second_header(below, replace(header, line=0)):
            raise NotPlain
        _add_rows(below, line, len(header.names), rows, numbers)
        if quotes_of_columns(below, len(header.names))[1]:
            raise NotPlain
        line += len(below)
    if header is None:
        raise NotPlain
    return header.names, rows, numbers


def _header(text: str, lines: list[str], suffix: str, columns: Sequence[str] | None) -> Header:
    if SEP_LINE.match(text) or STARTS_JSON.match(text) or delimiters_of(text, suffix) != [","]:
        raise NotPlain
    header = read_header(lines, columns)
    names, odd = header.names, "".join(lines[: max(header.line, 1)]).count('"') % 2
    if odd or len(names) < 2 or "" in names or len(set(names)) < len(names):
        raise NotPlain
    return header


def _add_rows(lines: list[str], before: int, width: int, rows: list[tuple[str, ...]], numbers: list[int]) -> None:
    """Adds the rows of these lines, without blank ones; `before` lines come before them in the file."""
    reader = csv.reader(lines, strict=True)
    last = 0
    for row in reader:
        if reader.line_num != last + 1 or (row and len(row) != width):
            raise NotPlain
        last = reader.line_num
        if any(cell.strip() for cell in row):
            rows.append(tuple(row))
            numbers.append(before + last)
