"""The header line of a table: names of columns, a missing header, a second one."""

import csv
import json
import re
import statistics
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from tandem.config.questions import Question
from tandem.data.csv_grammar import shape
from tandem.data.csv_repair import CsvError
from tandem.data.image_io import SUFFIXES

UNNAMED = re.compile(r"Unnamed: \d+(\.\d+)*")  # as pandas names a column without a name
SAMPLE = 1_000  # rows looked at
LONG = 4  # words of a text
SHOWN = 9  # names in a message


class HeaderError(CsvError):
    """Names of columns that cannot be used; with a question where the first line looks like a row."""

    def __init__(self, line: int, message: str, question: Question | None) -> None:
        super().__init__(line, message)
        self.question = question


@dataclass(frozen=True)
class Header:
    """The names of the columns, and where the rows begin."""

    cells: tuple[str, ...]  # as in the file, or as given
    line: int  # of the header in the file, from 1; 0: there is none, the names were given
    given: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(cell.strip().strip("\ufeff").strip() for cell in self.cells)  # also a mark inside quotes


def read_header(lines: list[str], given: Sequence[str] | None = None) -> Header:
    """The header; `given` are the names where the first line is a row, unless all its cells are of these names."""
    reader = csv.reader(lines, strict=True, skipinitialspace=given is not None)
    try:
        cells = next((tuple(row) for row in reader if any(cell.strip() for cell in row)), None)
    except csv.Error as error:
        raise CsvError(1, f"the header cannot be read: {error}; expected the names of the columns") from error
    if cells is None:
        raise CsvError(1, "the header has no names; expected the names of the columns")
    if given is None:
        return Header(cells, reader.line_num)
    if {cell.strip() for cell in cells} <= set(given):
        return Header(cells, reader.line_num)
    return Header(tuple(given), 0, given=True)


def name_columns(header: Header, names: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, int]:
    """{name: index} of the columns; raises HeaderError where two have the same name, or one has none.

    Columns without a name are left out where all their cells are empty; the first one of all is named as pandas does.
    """
    empty = {j for j, name in enumerate(names) if not name and not any(row[j].strip() for row in rows)}
    kept = [j for j in range(len(names)) if j not in empty]
    named = [names[j] for j in kept]
    if kept[0] == 0 and not named[0]:
        named[0] = "Unnamed: 0"
        while named.count(named[0]) > 1:
            named[0] += ".1"
    problem = ""
    if "" in named:
        problem = f"column {kept[named.index('')] + 1} of the header has no name; give it one"
    elif repeated := sorted(name for name, count in Counter(named).items() if count > 1):
        problem = f"the header repeats {repeated[:SHOWN]}; give every column its own name"
    if problem:
        question = None if header.given else looks_headerless(names, rows)
        advice = "; or, if the file has no header line, set columns to the names" if question else ""
        raise HeaderError(max(header.line, 1), problem + advice, question)
    return dict(zip(named, kept, strict=True))


def find_second_header(lines: list[str], header: Header) -> int:
    """The line of the file, from 1, that repeats the header below it; 0 where there is none."""
    one = len(header.cells) == 1
    wanted = header.cells[0].strip() if one else _bare(",".join(header.cells))
    first = header.names[0].casefold()
    for i, line in enumerate(lines[header.line :], header.line + 1):
        start = line.lstrip(' "\ufeff')[: len(first)]
        if start.casefold() == first and (line.strip() if one else _bare(line)) == wanted:
            return i
    return 0


def _bare(line: str) -> str:
    return re.sub(r'[\s"\ufeff]', "", line).casefold()


def looks_headerless(
    columns: Sequence[str], rows: Sequence[Sequence[str]], expected: Collection[str] = ()
) -> Question | None:
    """A question for `columns` where the first line looks like a row: its cells are like those below it.

    `expected` are names of columns in another table of the competition, such as the sample submission: a first line
    that has one of them is a header, and one that has none needs less to look like a row.
    """
    if set(columns) & set(expected):
        return None
    some = rows[:SAMPLE]
    alike = [_is_alike(name, [row[j] for row in some]) for j, name in enumerate(columns) if name]
    is_file = any(map(_is_file, columns))
    if not is_file and (not some or not (all(alike) or (expected and alike[0]))):
        return None
    shown = ", ".join(cell[:40] for cell in columns)
    candidates = {json.dumps(_guess_names(columns, some), ensure_ascii=False): shown}
    if not is_file:  # the answer that the first line is a header
        candidates[json.dumps(list(columns), ensure_ascii=False)] = ", ".join(cell[:40] for cell in some[0])
    return Question("columns", f"the first line ({shown}) looks like a row, not like names of columns", candidates)


def _is_file(cell: str) -> bool:
    return PurePosixPath(cell.strip()).suffix.lower() in SUFFIXES


def _is_alike(first: str, cells: Sequence[str]) -> bool:
    """Whether the first cell of a column looks like those below it."""
    filled = [cell for cell in cells if cell.strip()]
    if not filled:
        return False
    if first in filled:
        return True
    if _is_number(first) or all(map(_is_number, filled)):
        return _is_number(first) and all(map(_is_number, filled))
    if any(c.isdigit() for c in first) and {shape(first, 0)} == {shape(cell, 0) for cell in filled}:
        return True
    if re.fullmatch(r"[0-9a-f]{16,}", first):
        return all(re.fullmatch(r"[0-9a-f]{16,}", cell) for cell in filled)
    words = re.findall(r"\w+", first)
    known = {word for cell in filled for word in re.findall(r"\w+", cell)}
    lengths = statistics.median(len(cell.split()) for cell in filled)
    return bool(words) and (known.issuperset(words) or (len(words) >= LONG and lengths >= LONG))


def _is_number(cell: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?\s*", cell) is not None


def _guess_names(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Names by what the cells hold: the first column of different values image, the one of longest texts caption."""
    cells = [[row[j] for row in (columns, *rows)] for j in range(len(columns))]
    words = [max(len(cell.split()) for cell in column) for column in cells]
    caption = words.index(max(words)) if max(words) >= LONG else -1
    distinct = [j for j, column in enumerate(cells) if len(set(column)) == len(column) and j != caption]
    image = next((j for j in distinct if _is_file(columns[j])), distinct[0] if distinct else -1)
    rest = [j for j in range(len(columns)) if j not in (image, caption)]
    other = {j: "labels" if len(rest) == 1 else f"column_{j + 1}" for j in rest}
    return [{image: "image", caption: "caption"}.get(j, other.get(j, "")) for j in range(len(columns))]
