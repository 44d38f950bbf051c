"""Infers the label column(s) of a training table from their cells."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tandem.config.competition import Labels
from tandem.data.csv_reader import Table
from tandem.data.label_codec import FLAGS, encode_flags, natural_key, split_cell

MARKS = "|;,"  # likely separators; a space may also be part of a name
HINTS = ("label", "tag", "target", "class", "categor", "attribute", "genre")
MANY = 1000  # distinct names; a column with more is unlikely to hold labels


@dataclass(frozen=True)
class LabelGuess:
    """Inferred labels of a training table."""

    labels: Labels
    least: int  # fewest labels of a row
    most: int
    counts: dict[str, int]  # rows of each label
    questions: list[str]  # what the user should verify


def guess_labels(train: Table, candidates: Sequence[str]) -> LabelGuess:
    """Raises ValueError where no candidate column can hold labels."""
    cells = {name: train.column(name) for name in candidates}
    flags = [name for name in candidates if set(cells[name]) <= set(FLAGS)]
    if len(flags) > 1:
        y = encode_flags({name: cells[name] for name in flags})[0]
        sizes, counts = y.sum(axis=1).tolist(), dict(zip(flags, y.sum(axis=0).tolist(), strict=True))
        return LabelGuess(Labels(format="columns", names=flags), min(sizes), max(sizes), counts, [])
    usable = {name: guess for name in candidates if (guess := _separated(name, cells[name]))}
    if not usable:
        separated = "one column of separated names, such as cat|dog (not lists, such as ['cat', 'dog'])"
        expected = f"{separated}, or one column of 0 and 1 for each label"
        raise ValueError(f"none of the columns {list(candidates)} holds labels; expected {expected}")

    def rank(name: str) -> tuple[bool, bool, int]:
        hinted = any(hint in name.lower() for hint in HINTS)
        return not hinted, usable[name].most < 2, len(usable[name].labels.names)

    best = min(usable, key=rank)
    if others := [name for name in usable if name != best]:
        usable[best].questions.append(f"labels are read from column {best!r}, not from {others}: edit labels.column")
    return usable[best]


def _separated(column: str, cells: list[str]) -> LabelGuess | None:
    if any(cell.lstrip().startswith("[") for cell in cells):
        return None
    separator, question = guess_separator(cells)
    rows = [set(split_cell(cell, separator)) for cell in cells]
    counts = Counter(name for row in rows for name in row)
    if len(counts) < 2:
        return None
    names = sorted(counts, key=natural_key)
    questions = [f"column {column!r}: {question}"] if question else []
    if len(names) > min(MANY, max(20, len(rows) // 2)):
        many = f"{len(names):,} label names on {len(rows):,} rows, such as {names[0]!r} and {names[-1]!r}"
        edit = "edit labels.column, labels.separator and labels.names if wrong"
        questions.append(f"column {column!r} gives {many}: {edit}")
    sizes = [len(row) for row in rows]
    labels = Labels(format="separated", column=column, separator=separator, names=names)
    return LabelGuess(labels, min(sizes), max(sizes), {name: counts[name] for name in names}, questions)


def guess_separator(cells: Iterable[str]) -> tuple[str, str]:
    """(separator, question or ''): the separator that yields names which recur in other cells.

    >>> guess_separator(["fire hydrant|dog", "dog", "fire hydrant|stop sign", "stop sign"])
    ('|', '')
    """
    distinct = {cell.strip() for cell in cells} - {""}
    marks = [mark for mark in MARKS if any(mark in cell for cell in distinct)]
    fitting = [mark for mark in marks if _recurring_share(distinct, mark) >= 0.5]
    if fitting:
        best = min(fitting, key=lambda mark: len({name for cell in distinct for name in split_cell(cell, mark)}))
        others = [mark for mark in fitting if mark != best]
        return best, f"split at {best!r}, not at {others}: edit labels.separator if wrong" if others else ""
    unused = next((mark for mark in MARKS if mark not in marks), "\t")
    if marks:
        return (unused, f"{marks} are treated as part of the names: edit labels.separator if they separate labels")
    if not any(" " in cell for cell in distinct):
        return (" ", "every row has at most one label; names are split at spaces: edit labels.separator if wrong")
    numbers = all(part.isdecimal() for cell in distinct for part in cell.split())
    if numbers or _recurring_share(distinct, " ") >= 0.5:
        return " ", ""
    return (unused, "spaces are treated as part of the names: set labels.separator = ' ' if they separate labels")


def _recurring_share(distinct: set[str], separator: str) -> float:
    """Share of the names in cells with a separator that occur in another cell too."""
    cells = {cell: set(split_cell(cell, separator)) for cell in distinct}
    n_cells = Counter(name for names in cells.values() for name in names)
    separated = [name for cell, names in cells.items() if separator in cell for name in names]
    return sum(n_cells[name] > 1 for name in separated) / max(len(separated), 1)
