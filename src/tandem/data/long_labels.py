"""Tables of a row for each id and label: widened to a row for each id, and recognised."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tandem.config.competition import Labels
from tandem.config.questions import Question
from tandem.data.csv_reader import Table
from tandem.data.flags import ODD, POSITIVE, read_flag
from tandem.data.label_codec import encode, natural_key, raise_first
from tandem.data.label_readings import HINTS

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


def pivot_long(table: Table, id: str, labels: Labels) -> tuple[list[str], np.ndarray, np.ndarray | None]:
    """(ids, y, known) of a long table, where a missing pair of id and label is unknown if `labels.value` tells them
    apart; raises ValueError as `widen`, and for a value that cannot be read."""
    wide, cells = widen(table, id, labels)
    y, known, issues = encode(labels, cells)
    raise_first(issues)
    return wide.column(id), y, known


def _pairs(table: Table, id: str, labels: Labels) -> Sequence[tuple[str, str]]:
    """(id, label) of each row."""
    if labels.column:
        return list(zip(table.column(id), map(str.strip, table.column(labels.column)), strict=True))
    cut = [cell.rpartition(labels.separator) for cell in table.column(id)]
    if whole := [row for row, (before, _, _) in enumerate(cut) if not before]:
        lacks = f"{table.column(id)[whole[0]]!r} has no {labels.separator!r} between an id and a label"
        raise ValueError(f"line {table.lines[whole[0]]}: {lacks}")
    return [(before, label) for before, _, label in cut]


@dataclass(frozen=True)
class LongGuess:
    """A long table: its column of ids, and how its labels are written."""

    id: str
    labels: Labels
    questions: list[Question]


def guess_long(table: Table, name_images: Callable[[Sequence[str]], bool]) -> LongGuess | None:
    """How the table is long, or None where it has a row for each id or more than one reading fits.

    name_images says whether cells, such as those of a column, name images.
    """
    found = [guess for id in table.columns if (guess := _joined(table, id, name_images))]
    found = found or [guess for id in table.columns if (guess := _paired(table, id, name_images))]
    if len(found) > 1:  # ids and labels could be told apart either way round
        named = [guess for guess in found if name_images(table.column(guess.id))]
        found = named or [max(found, key=lambda guess: len(set(table.column(guess.id))))]
    return found[0] if len(found) == 1 else None


def _joined(table: Table, id: str, name_images: Callable[[Sequence[str]], bool]) -> LongGuess | None:
    """Id and label in one cell: cut at the last joint, the cells are all pairs of some ids and labels."""
    cells, flags = table.column(id), [name for name in table.columns if name != id and _holds_flags(table.column(name))]
    if len(flags) != 1 or len(set(cells)) < len(cells) or name_images(cells):
        return None
    for joint in JOINTS:
        cut = [cell.rpartition(joint) for cell in cells]
        ids, names = {before for before, _, _ in cut}, {label for _, _, label in cut}
        full = len(ids) * len(names) == len(cells) and min(len(ids), len(names)) > 1
        if full and "" not in ids | names and not all(map(str.isdecimal, names)):
            if len(names) == 2 and not name_images(sorted(ids)):
                return None  # such as the left and the right eye of each patient
            ordered = list(dict.fromkeys(label for _, _, label in cut))
            return LongGuess(id, Labels(format="long", separator=joint, value=flags[0], names=ordered), [])
    return None


def _paired(table: Table, id: str, name_images: Callable[[Sequence[str]], bool]) -> LongGuess | None:
    """Columns of ids and labels, and nothing else that differs between rows of one id but flags."""
    ids = table.column(id)
    n = len(set(ids))
    varying = [name for name in table.columns if len(set(zip(ids, table.column(name), strict=True))) > n]
    flags = [name for name in varying if _holds_flags(table.column(name))]
    texts = [name for name in varying if name not in flags]
    if len(texts) != 1 or len(flags) > 1 or n == len(ids):
        return None
    cells = [cell.strip() for cell in table.column(texts[0])]
    hinted = [name for name in table.columns if HINTS.search(name)]
    if any(map(_holds_texts, (ids, cells))) or name_images(cells) or (hinted and texts[0] not in hinted):
        return None
    names = sorted(set(cells) - {""}, key=natural_key)
    if len(set(zip(ids, cells, strict=True))) < len(ids) or not 0 < 2 * len(names) <= len(ids):
        return None
    value, questions = flags[0] if flags else "", []
    if value and n * len(names) > len(ids):  # else every id has every label, and only the value tells them apart
        about = f"the table has a row for some pairs of {id!r} and {texts[0]!r}, and a column {value!r} of flags"
        candidates = {value: f"{value} says whether the label is there", "": "each row is a label that is there"}
        questions.append(Question("labels.value", about, candidates))
    return LongGuess(id, Labels(format="long", column=texts[0], value=value, names=names), questions)


def _holds_flags(cells: Sequence[str]) -> bool:
    codes = {read_flag(cell)[0] for cell in set(cells)}
    return ODD not in codes and POSITIVE in codes


def _holds_texts(cells: Sequence[str]) -> bool:
    """Whether the cells are of more than three words on average."""
    return sum(len(cell.split()) for cell in cells) > 3 * len(cells)
