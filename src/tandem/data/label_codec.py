"""Label cells of CSV files <-> rows of a 0/1 matrix; the order of its columns is decided here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.labels import Labels
from tandem.data.flags import BLANK, ODD, POSITIVE, UNCERTAIN, FlagColumn, settle_minus
from tandem.data.label_lists import parse_list, write_list

_WHOLE = re.compile(r"(\d+)\.0+")


@dataclass(frozen=True)
class CellIssue:
    """A problem of a label cell, or the first of several such cells of a column."""

    row: int
    kind: str  # one of issues.KINDS
    message: str


Encoded = tuple[np.ndarray, np.ndarray | None, list[CellIssue]]


def encode(labels: Labels, columns: Mapping[str, Sequence[str]]) -> Encoded:
    """(y, known, issues) from the cells of the label columns; a long table is widened first, by `widen`.

    y       (n, c) uint8, 0 where unknown or unreadable
    known   (n, c) bool, or None where all cells are known
    issues  in the order of the rows

    >>> labels = Labels(format="columns", names=["cat", "dog"], blank="unknown")
    >>> y, known, _ = encode(labels, {"cat": ["yes", ""], "dog": ["0", "1.0"]})
    >>> y.tolist(), known.tolist()
    ([[1, 0], [0, 1]], [[True, True], [False, True]])
    """
    if labels.format in ("columns", "long"):
        return _encode_flags(labels, {name: FlagColumn.read(columns[name]) for name in labels.names})
    rows, issues = read_names(labels, columns)
    y, known, unknown_names = _encode_names(labels, rows)
    return y, known, sorted([*issues, *unknown_names], key=lambda issue: issue.row)


def decode(labels: Labels, y: np.ndarray, known: np.ndarray | None = None) -> dict[str, list[str]]:
    """{column: (n,) cells} that `encode` reads back, blank where unknown; raises ValueError where a row has more labels
    than the format has columns.

    >>> decode(Labels(format="list", column="tags", names=["cat", "dog"]), np.array([[1, 1], [0, 0]]))
    {'tags': ['["cat", "dog"]', '[]']}
    """
    y = np.asarray(y, bool)
    known = np.ones(y.shape, bool) if known is None else known
    if labels.format in ("columns", "long"):
        flags = np.where(known, np.where(y, "1", "0"), "")
        return {name: flags[:, j].tolist() for j, name in enumerate(labels.names)}
    names = np.array(labels.names, dtype=object)
    rows = [names[row].tolist() for row in y]
    if labels.format == "joined":
        width = len(labels.columns)
        if too_long := [row for row in rows if len(row) > width]:
            raise ValueError(f"{len(too_long[0])} labels in one row ({', '.join(too_long[0])}), but {width} columns")
        return {name: [row[j] if j < len(row) else "" for row in rows] for j, name in enumerate(labels.columns)}
    write = write_list if labels.format == "list" else labels.separator.join
    cells = [write(row) if n else "" for row, n in zip(rows, known.sum(axis=1).tolist(), strict=True)]
    return {labels.column: cells}


def read_names(labels: Labels, columns: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], list[CellIssue]]:
    """(label names of each row as written, cells that are no list); formats separated, list and joined."""
    if labels.format == "joined":
        cells = zip(*(columns[name] for name in labels.columns), strict=True)
        return [[name for cell in row if (name := cell.strip())] for row in cells], []
    column = columns[labels.column]
    if labels.format == "separated":
        return [split_cell(cell, labels.separator) for cell in column], []
    rows, issues = list[list[str]](), list[CellIssue]()
    for i, cell in enumerate(column):
        try:
            rows.append(parse_list(cell))
        except ValueError as error:
            rows.append([])
            issues.append(CellIssue(i, "not a list", f"column {labels.column!r}: {error}"))
    return rows, issues


def _encode_names(labels: Labels, rows: Sequence[Sequence[str]]) -> Encoded:
    column = {name: j for j, name in enumerate(labels.names)}
    column = {whole_number(name): j for name, j in column.items()} | column  # "1.0" is also "1", where there is no "1"
    issues: list[CellIssue] = []
    cells: list[tuple[int, int]] = []
    for i, row in enumerate(rows):
        found = [column.get(name, column.get(whole_number(name), -1)) for name in row]
        cells += [(i, j) for j in found if j >= 0]
        if -1 in found or len(set(found)) < len(row):
            issues += _name_issues(i, row, found, labels.names)
    y = np.zeros((len(rows), len(labels.names)), np.uint8)
    y[tuple(np.array(cells, int).reshape(-1, 2).T)] = 1
    if labels.blank != "unknown" or all(rows):
        return y, None, issues
    return y, np.repeat([[bool(row)] for row in rows], y.shape[1], axis=1), issues


def _name_issues(row: int, written: Sequence[str], found: Sequence[int], names: Sequence[str]) -> list[CellIssue]:
    """Unknown and repeated names of one row; `found` are the numbers of their labels, -1 for none."""
    issues = []
    for name, j in dict(zip(written, found, strict=True)).items():
        if j < 0:
            expected = f"the {len(names)} known labels ({names[0]} ... {names[-1]})"
            issues.append(CellIssue(row, "unknown label", f"label {name!r} is not one of {expected}"))
    for j in sorted({j for j in found if j >= 0 and found.count(j) > 1}):
        issues.append(CellIssue(row, "repeated label", f"label {names[j]!r} occurs more than once"))
    return issues


def _encode_flags(labels: Labels, columns: Mapping[str, FlagColumn]) -> Encoded:
    codes = settle_minus(columns.values(), labels.uncertain is not None)
    y, known = codes == POSITIVE, np.ones(codes.shape, bool)
    issues = [issue for name, column in columns.items() for issue in _unreadable(name, column)]
    for key, code, answer in (("blank", BLANK, labels.blank), ("uncertain", UNCERTAIN, labels.uncertain)):
        cells = codes == code
        y |= cells & (answer == "positive")
        known &= ~cells | (answer != "unknown")
        for j in np.flatnonzero(cells.any(0)) if answer is None else ():
            row, name, n = int(cells[:, j].argmax()), labels.names[j], int(cells[:, j].sum())
            what = "is blank" if key == "blank" else f"holds {columns[name].cells[row]!r}"
            issues.append(CellIssue(row, f"{key} label", f"column {name!r} {what} ({n:,} such cell{'s' * (n > 1)})"))
    issues.sort(key=lambda issue: issue.row)
    return y.astype(np.uint8), None if known.all() else known, issues


def _unreadable(name: str, column: FlagColumn) -> list[CellIssue]:
    """Cells that are no flags, and the first one that is written in another form than those before."""
    rows = np.flatnonzero(column.codes == ODD).tolist()
    found = [CellIssue(i, "not 0 or 1", f"column {name!r} holds {column.cells[i]!r}; expected 0 or 1") for i in rows]
    first, *others = column.forms.values() or [0]
    for row in others:
        both = f"{column.cells[first]!r} and {column.cells[row]!r}"
        found.append(CellIssue(row, "not 0 or 1", f"column {name!r} holds {both}; expected one way of writing"))
    return found


@dataclass(frozen=True)
class LabelCodec:
    """Two-way map between cells of separated label names and rows of a 0/1 matrix.

    >>> codec = LabelCodec(["cat", "dog", "sea"])
    >>> codec.encode(["dog cat", ""]).tolist()
    [[1, 1, 0], [0, 0, 0]]
    >>> codec.decode(codec.encode(["dog cat", ""]))
    ['cat dog', '']
    """

    names: Sequence[str]
    separator: str = " "

    @property
    def _labels(self) -> Labels:
        return Labels(format="separated", column="labels", separator=self.separator, names=list(self.names))

    def encode(self, cells: Iterable[str]) -> np.ndarray:
        """(n, c) uint8; raises ValueError naming the row (from 1) and the unknown label."""
        y, _, issues = encode(self._labels, {"labels": list(cells)})
        raise_first(issues)
        return y

    def decode(self, y: np.ndarray) -> list[str]:
        """One cell per row, names in column order."""
        names = np.array(self.names, dtype=object)
        return [self.separator.join(names[row]) for row in np.asarray(y, bool)]


def raise_first(issues: Iterable[CellIssue]) -> None:
    """Raises ValueError with the first issue that is an error, and its row (from 1)."""
    for issue in issues:
        if issue.kind != "repeated label":
            raise ValueError(f"row {issue.row + 1}: {issue.message}")


def split_cell(cell: str, separator: str) -> list[str]:
    """The label names in one cell; white space around them and empty parts are dropped."""
    return [part for part in (p.strip() for p in cell.split(separator)) if part]


def whole_number(name: str) -> str:
    """The name of an integer code without decimals, as spreadsheets add them; other names as they are.

    >>> whole_number("1.0"), whole_number("1.5")
    ('1', '1.5')
    """
    return found[1] if (found := _WHOLE.fullmatch(name)) else name


def natural_key(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value (2 before 10), then words.

    >>> sorted(["10", "cat", "2"], key=natural_key)
    ['2', '10', 'cat']
    """
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
