"""Rows of a CSV file whose writer put text between quotes without doubling the quotes inside it.

Such a text may also hold commas and line breaks, so neither a quote nor a line end says where a row ends. The
rows that are valid alone teach it: what their first cell looks like, and which columns are quoted.
"""

from dataclasses import dataclass
from itertools import islice

from tandem.data.csv_grammar import Cells, Grammar, key_of, learn, split_cells

WHAT_TO_DO = 'in that row, write each quote inside a quoted text twice ("")'
CLEAR = 10  # unescaped rows for each row with doubled quotes, before "" is taken as two quotes


class Flaw(ValueError):
    """What can't be read with certainty, and on which line of the file (from 1)."""

    def __init__(self, line: int, message: str):
        super().__init__(message)
        self.line = line


class Ambiguous(Flaw):
    """A line that is a row of its own or a part of the text before it: both make sense."""

    def __init__(self, line: int):
        message = "can be read as a row of its own or as a part of the quoted text before it"
        super().__init__(line, f"{message}; take the line break or the quotes out of that text")


class WrongWidth(Flaw):
    """A row with more or fewer cells than the header."""


@dataclass(frozen=True)
class Row:
    """A row as read; `repaired` where CSV alone reads it in another way, or not at all."""

    line: int
    cells: tuple[str, ...]
    repaired: bool


@dataclass(frozen=True)
class Reading:
    """One row's cells by RFC 4180, if it has them, and up to two readings with quotes as they stand."""

    line: int
    strict: tuple[str, ...] | None
    raw: list[tuple[str, ...]]

    @property
    def doubled(self) -> bool:
        return self.strict is not None and bool(self.raw) and self.raw != [self.strict]


def read_row(grammar: Grammar, lines: list[str], start: int, alone: Cells | None) -> Reading | None:
    """None where these lines are no whole row; `alone` are the cells of the first line, if that is a row."""
    text = "".join(lines).rstrip("\r\n")
    split = alone if len(lines) == 1 else split_cells(text, len(grammar.kinds))
    strict = tuple(split[0]) if split else None
    raw = [] if strict and '""' not in text else list(islice(grammar.readings(text), 2))
    return Reading(start + 1, strict, raw) if strict or raw else None


def read_unescaped(
    lines: list[str], first: int, width: int, why: Flaw | None = None, valid: dict[int, str] | None = None
) -> list[Row]:
    """Every row from `lines[first]` on; raises Flaw unless all is certain.

    `why` is raised where nothing teaches; `valid` has line and key of each row, where RFC 4180 reads all.
    """
    start = next(i for i in range(first, len(lines)) if lines[i].strip())
    alone = [None] * first + [split_cells(line, width) for line in lines[first:]]
    grammar = learn(lines[start], alone, width, list(valid.values()) if valid else None)
    if grammar is None:
        raise why or Flaw(start + 1, "no column is quoted")
    found, head = [], grammar.head
    for i in range(start + 1, len(lines)):
        line = lines[i]
        known, opens = grammar.is_key(key_of(line)), head.match(line) is not None
        if not (known or opens):
            continue
        row = read_row(grammar, lines[start:i], start, alone[start])
        begins = opens or alone[i] is not None
        if row and begins and (known or (row.strict and alone[i])):
            if valid and i + 1 not in valid:
                raise Ambiguous(i + 1)
            found.append(row)
            start = i
        elif row:
            raise Flaw(i + 1, f"starts like a row, but unlike the others; expected {grammar.describe()}")
        elif known and begins:
            raise Flaw(start + 1, f"the row has no end before the next, on line {i + 1}; {WHAT_TO_DO}")
    row = read_row(grammar, lines[start:], start, alone[start])
    if row is None:
        raise Flaw(start + 1, f"the row can't be read; expected {grammar.describe()}; {WHAT_TO_DO}")
    return settle([*found, row])


def settle(readings: list[Reading]) -> list[Row]:
    """One reading a row: a writer either doubles the quotes inside a text or does not."""
    for reading in readings:
        if reading.strict is None and len(reading.raw) > 1:
            raise Flaw(reading.line, f"the row can be read in more than one way; {WHAT_TO_DO}")
    unescaped = [reading.line for reading in readings if reading.strict is None]
    doubled = [reading.line for reading in readings if reading.doubled]
    if doubled and 0 < len(unescaped) < CLEAR * len(doubled):
        raise Flaw(
            doubled[0],
            f'doubles the quotes inside its text, line {unescaped[0]} does not: "" may be one quote or two; '
            f"double them in line {unescaped[0]} as well",
        )
    rows = []
    for reading in readings:
        as_it_stands = reading.strict is None or (reading.doubled and bool(unescaped))
        rows.append(Row(reading.line, reading.raw[0] if as_it_stands else reading.strict, as_it_stands))
    return rows
