"""The ways in which columns of a training table can be read as labels."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.config.labels import Labels
from tandem.data.csv_reader import Table
from tandem.data.flags import BLANK, MINUS, NEGATIVE, ODD, POSITIVE, FlagColumn
from tandem.data.label_codec import CellIssue, natural_key, read_names, whole_number
from tandem.data.label_lists import looks_like_list, write_list
from tandem.data.label_separator import guess_separator

HINTS = re.compile("label|tag|target|class|categor|attribute|genre", re.IGNORECASE)  # names of columns of labels
MANY = 20  # distinct names; a column with more, most of which occur once, holds ids or texts
TEXTS = re.compile("caption|text|title|descri|sentence|comment|url", re.IGNORECASE)  # names of columns of texts
ORDER = re.compile(r"[ _-]*(\d+|primary|secondary|tertiary|main|first|second|third)[ _-]*")


@dataclass(frozen=True)
class Reading:
    """One way to read the labels of a table."""

    labels: Labels
    example: str
    several: bool = False  # a row may have several labels
    many: bool = False  # most names occur once, or the column is named as one of texts
    separators: Mapping[str, str] = field(default_factory=dict)  # candidates, where more than one fits
    issues: Sequence[CellIssue] = ()
    notes: Sequence[str] = ()

    @property
    def hinted(self) -> bool:
        """Whether the name of the first column says labels."""
        return bool(HINTS.search(self.labels.table_columns[0]))

    @property
    def strong(self) -> bool:
        return (self.hinted or self.several) and not self.many

    @property
    def place(self) -> str:
        """The value of `labels.column`, `names` or `columns` that chooses this reading."""
        return self.labels.column or write_list(self.labels.table_columns)


def flag_readings(train: Table, columns: Sequence[str], named: bool) -> list[Reading]:
    """One for each form of flags; where the columns are `named` as labels, one of all that hold flags."""
    read = {name: FlagColumn.read(train.column(name)) for name in columns}
    groups: dict[str, list[str]] = {}
    for name, flags in read.items():
        if (flags.forms and not flags.counts[ODD]) or (named and flags.counts[BLANK] == len(flags.cells)):
            groups.setdefault("" if named else next(iter(flags.forms)), []).append(name)
    issues = [issue for name, flags in read.items() if (issue := odd_cell(name, flags, named))]
    found = []
    for names in groups.values():
        group = [read[name] for name in names]
        if len(names) > 1 or named or _varies(group[0]):
            notes = ["-1 is read as negative: no cell is 0"] if _minus_is_negative(group) else []
            odd = issues if len(names) > 1 or named else []
            labels, example = Labels(format="columns", names=names), f"{group[0].cells[0]!r} in {names[0]}"
            found.append(Reading(labels, example, len(names) > 1, issues=odd, notes=notes))
    return found


def odd_cell(name: str, flags: FlagColumn, named: bool) -> CellIssue | None:
    """The cell that is no flag in a column whose other cells are, or that is written in another form."""
    n, odd = len(flags.cells), flags.counts[ODD]
    mostly_flags = (odd <= max(1, n // 100) and n >= 10) or (named and 2 * odd < n)
    if not flags.forms or (odd and not mostly_flags):
        return None
    advice = "correct it, or give labels.names without this column"
    if odd:
        row, form = flags.first(ODD), next(iter(flags.forms))
        what = f"column {name!r} holds {flags.cells[row]!r}, its other cells are flags such as {form}"
        return CellIssue(row, "not 0 or 1", f"{what}: {advice}")
    if len(flags.forms) > 1:
        first, row = list(flags.forms.values())[:2]
        both = f"{flags.cells[first]!r} and {flags.cells[row]!r}"
        return CellIssue(row, "not 0 or 1", f"column {name!r} holds {both}; expected one way of writing: {advice}")
    return None


def _varies(flags: FlagColumn) -> bool:
    return 0 < flags.counts[POSITIVE] < len(flags.cells)


def _minus_is_negative(group: Sequence[FlagColumn]) -> bool:
    return not any(flags.counts[NEGATIVE] for flags in group) and any(flags.counts[MINUS] for flags in group)


def joined_readings(train: Table, columns: Sequence[str]) -> list[Reading]:
    """Columns such as label_1 and label_2, whose cells hold the same names, at most one each."""
    groups: dict[str, list[str]] = {}
    for name in columns:
        groups.setdefault(ORDER.sub("", name.lower()), []).append(name)
    found = []
    for names in groups.values():
        first, *others = (set(train.column(name)) - {""} for name in names)
        if others and all(0 < len(cells) <= 2 * len(cells & first) for cells in others):
            found.append(joined_reading(train, names))
    return found


def joined_reading(train: Table, columns: Sequence[str]) -> Reading:
    """Raises ValueError where the columns are empty, or fewer than two."""
    rows = [tuple(map(str.strip, row)) for row in zip(*map(train.column, columns), strict=True)]
    names = sorted({name for row in rows for name in row} - {""}, key=natural_key)
    if not names:
        raise ValueError(f"the columns {list(columns)} are empty; expected a label in each, or none")
    fullest = max(rows, key=lambda row: sum(map(bool, row)))
    return Reading(Labels(format="joined", columns=list(columns), names=names), " and ".join(map(repr, fullest)))


def cell_reading(train: Table, column: str, answers: Mapping[str, Any]) -> Reading | None:
    """The labels of one column, as lists or separated; None where it has fewer than two names."""
    cells = train.column(column)
    filled = [cell for cell in cells if cell.strip()]
    lists = bool(filled) and all(map(looks_like_list, filled)) and answers.get("format") != "separated"
    separator, candidates = answers.get("separator", " "), dict[str, str]()
    if not lists and "separator" not in answers:
        separator, candidates = guess_separator(cells)
    place: dict[str, Any] = {"format": "list" if lists else "separated", "column": column, "separator": separator}
    rows, issues = read_names(Labels.model_construct(**place), {column: cells})
    written = {name for row in rows for name in row}
    alias = {name: number for name in sorted(written) if (number := whole_number(name)) != name and number in written}
    counts = Counter(name for row in rows for name in {alias.get(name, name) for name in row})
    if len(counts) < 2 and not issues:
        return None
    notes = [f"column {column!r}: {name!r} and {number!r} are one label" for name, number in list(alias.items())[:1]]
    if blank := [line for line, cell in zip(train.lines, cells, strict=True) if not cell.strip()]:
        notes.append(f"column {column!r} is blank, so without a label, in {len(blank)} rows, first on line {blank[0]}")
    names = sorted(counts, key=natural_key) or ["?"]
    longest = max(range(len(rows)), key=lambda i: min(len(rows[i]), 2))
    return Reading(
        Labels(**place, names=names),
        repr(cells[longest]),
        several=lists or len(rows[longest]) > 1,
        many=bool(TEXTS.search(column))
        or (len(counts) > max(MANY, len(rows) // 2) and counts.total() < 2 * len(counts)),
        separators=candidates,
        issues=issues,
        notes=notes,
    )
