"""Tables of a row for each id and label, widened to a row for each id."""

from collections.abc import Sequence
from dataclasses import replace

from tandem.config.labels import Labels
from tandem.data.csv_reader import Table

JOINTS = ("_", "-", "/", "|", ":", " ")  # between id and label in one cell


def label_cells(table: Table, id: str, labels: Labels) -> tuple[Table, dict[str, list[str]]]:
    """(a table of a row for each id, {column: (n,) cells} for `encode`); raises ValueError where a column lacks."""
    wide = labels.format == "long" and set(labels.names) <= set(table.columns)  # as a solution may be
    if labels.format == "long" and not wide:
        return widen(table, id, labels)
    return table, {name: table.column(name) for name in (labels.names if wide else labels.table_columns)}


def widen(table: Table, id: str, labels: Labels) -> tuple[Table, dict[str, list[str]]]:
    """(first row of each id without the columns of labels, {label: (n,) cells}) of a long table.

    A label's cell is that of column `labels.value`, or 1; without a row for id and label it is blank (unknown), or 0
    where each row is a label that is there. Raises ValueError with the line of an unknown label, or of a second value
    for the same id and label.
    """
    first, cells = dict[str, int](), dict[tuple[str, str], int]()
    values = table.column(labels.value) if labels.value else ["1"] * len(table.rows)
    known = set(labels.names)
    for row, (name, label) in enumerate(_pairs(table, id, labels)):
        first.setdefault(name, row)
        if not label and not labels.value:
            continue  # a row that says that the id has no label
        if label not in known:
            where = f"line {table.lines[row]}: label {label!r}"
            raise ValueError(f"{where} is not one of the {len(known)} known labels ({', '.join(labels.names[:3])} ...)")
        before = cells.setdefault((name, label), row)
        if values[before].strip() != values[row].strip():
            lines = f"line {table.lines[row]}: {values[row]!r} for {name!r} and {label!r}"
            raise ValueError(f"{lines}, but {values[before]!r} on line {table.lines[before]}")
    kept = [j for j, name in enumerate(table.columns) if name not in (labels.column, labels.value)]
    at, missing = table.columns.index(id), "" if labels.value else "0"
    rows = [tuple(name if j == at else table.rows[row][j] for j in kept) for name, row in first.items()]
    columns = tuple(table.columns[j] for j in kept)
    found = {label: [cells.get((name, label)) for name in first] for label in labels.names}
    return (
        Table(columns, rows, [table.lines[row] for row in first.values()], table.repaired),
        {label: [missing if row is None else values[row] for row in column] for label, column in found.items()},
    )


def one_row_an_id(table: Table, id: str, labels: Labels) -> Table:
    """The first row of each id of a table, its label cut off where id and label stand in one cell."""
    at, cells = table.columns.index(id), table.column(id)
    cut = [cell.rpartition(labels.separator) for cell in cells]
    if not labels.column and all(before and label in labels.names for before, _, label in cut):
        cells = [before for before, _, _ in cut]
    first = dict[str, int]()
    for i, cell in enumerate(cells):
        first.setdefault(cell, i)
    rows = [(*table.rows[i][:at], cell, *table.rows[i][at + 1 :]) for cell, i in first.items()]
    return replace(table, rows=rows, lines=[table.lines[i] for i in first.values()])


def _pairs(table: Table, id: str, labels: Labels) -> Sequence[tuple[str, str]]:
    """(id, label) of each row."""
    if labels.column:
        return list(zip(table.column(id), map(str.strip, table.column(labels.column)), strict=True))
    cut = [cell.rpartition(labels.separator) for cell in table.column(id)]
    if whole := [row for row, (before, _, _) in enumerate(cut) if not before]:
        lacks = f"{table.column(id)[whole[0]]!r} has no {labels.separator!r} between an id and a label"
        raise ValueError(f"line {table.lines[whole[0]]}: {lacks}")
    return [(before, label) for before, _, label in cut]
