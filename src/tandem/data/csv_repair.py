"""Reads CSV files whose quoted texts contain unescaped quotes, commas and line breaks.

Row ends are located with a grammar learned from the lines that are valid rows: the form of the first cell, and which
columns are quoted.
"""

from dataclasses import dataclass
from itertools import islice

from tandem.data.csv_grammar import Cells, Grammar, key_of, learn_grammar, split_cells

ADVICE = 'in that row, write each quote inside a quoted text twice ("")'
CLEAR = 10  # unescaped rows for each row with doubled quotes, from which on "" is read as two quotes


class CsvError(ValueError):
    """A row that cannot be read unambiguously; `line` is its line in the file, from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class AmbiguousRow(CsvError):
    """A line that may be a row of its own or a part of the text before it."""

    def __init__(self, line: int) -> None:
        advice = "remove the line break or the quotes from that text"
        super().__init__(line, f"can be read as a row of its own or as a part of the quoted text before it; {advice}")


class WrongWidth(CsvError):
    """A row with more or fewer cells than the header."""


@dataclass(frozen=True)
class Row:
    """A row; `repaired` where RFC 4180 gives other cells or none."""

    line: int
    cells: tuple[str, ...]
    repaired: bool


@dataclass(frozen=True)
class RowReadings:
    """The cells of one row by RFC 4180 (`strict`), and up to two readings with unescaped quotes (`raw`)."""

    line: int
    strict: tuple[str, ...] | None
    raw: list[tuple[str, ...]]

    @property
    def doubled(self) -> bool:
        return self.strict is not None and bool(self.raw) and self.raw != [self.strict]


def _read_row(grammar: Grammar, lines: list[str], start: int, alone: Cells | None) -> RowReadings | None:
    """None where these lines are not one row; `alone` are the cells of the first line, if it is a row."""
    text = "".join(lines).rstrip("\r\n")
    split = alone if len(lines) == 1 else split_cells(text, len(grammar.kinds))
    strict = tuple(split[0]) if split else None
    raw = [] if strict and '""' not in text else list(islice(grammar.readings(text), 2))
    return RowReadings(start + 1, strict, raw) if strict or raw else None


def read_unescaped(
    lines: list[str], first: int, width: int, error: CsvError | None = None, valid: dict[int, str] | None = None
) -> list[Row]:
    """All rows from `lines[first]` on; raises CsvError where a row is ambiguous.

    `error` is raised where no grammar can be learned; `valid` is {line: key} of all rows, where the file is valid CSV.
    """
    start = next(i for i in range(first, len(lines)) if lines[i].strip())
    alone = [split_cells(line, width) if i >= first else None for i, line in enumerate(lines)]
    grammar = learn_grammar(lines[start], alone, width, list(valid.values()) if valid else None)
    if grammar is None:
        raise error or CsvError(start + 1, "no column is quoted")
    readings: list[RowReadings] = []
    head = grammar.head
    for i in range(start + 1, len(lines)):
        known, opens = grammar.is_key(key_of(lines[i])), head.match(lines[i]) is not None
        if not (known or opens):
            continue
        row = _read_row(grammar, lines[start:i], start, alone[start])
        begins = opens or alone[i] is not None
        if row and begins and (known or (row.strict and alone[i])):
            if valid and i + 1 not in valid:
                raise AmbiguousRow(i + 1)
            readings.append(row)
            start = i
        elif row:
            raise CsvError(i + 1, f"starts like a row, but differs from the others; expected {grammar.describe()}")
        elif known and begins:
            raise CsvError(start + 1, f"the row does not end before the next one, on line {i + 1}; {ADVICE}")
    row = _read_row(grammar, lines[start:], start, alone[start])
    if row is None:
        raise CsvError(start + 1, f"the row cannot be read; expected {grammar.describe()}; {ADVICE}")
    return _choose_readings([*readings, row])


def _choose_readings(readings: list[RowReadings]) -> list[Row]:
    """One reading for each row: a file either doubles all quotes inside texts or none."""
    for reading in readings:
        if reading.strict is None and len(reading.raw) > 1:
            raise CsvError(reading.line, f"the row can be read in more than one way; {ADVICE}")
    unescaped = [reading.line for reading in readings if reading.strict is None]
    doubled = [reading.line for reading in readings if reading.doubled]
    if doubled and 0 < len(unescaped) < CLEAR * len(doubled):
        message = f'doubles the quotes inside its text, line {unescaped[0]} does not: "" may be one quote or two'
        raise CsvError(doubled[0], f"{message}; double them in line {unescaped[0]} too")
    return [
        Row(reading.line, reading.raw[0], repaired=True)
        if reading.strict is None or (reading.doubled and unescaped)
        else Row(reading.line, reading.strict, repaired=False)
        for reading in readings
    ]
