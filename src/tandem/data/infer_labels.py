"""What the label column(s) of a training table are, judged by their cells alone."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tandem.config.competition import Labels
from tandem.data.csv_reader import Table
from tandem.data.label_codec import natural_key

FLAGS = {"0", "1", "0.0", "1.0"}
MARKS = "|;,"  # separators that are no part of a name; a space may be
HINTS = ("label", "tag", "target", "class", "categor", "attribute", "genre")
MANY = 1000  # names; more of them hardly are labels


@dataclass(frozen=True)
class LabelGuess:
    """The labels, how many a row has, on how many rows each is, and what a person should look at."""

    labels: Labels
    least: int
    most: int
    counts: dict[str, int]
    questions: list[str] = field(default_factory=list)


def guess_labels(train: Table, candidates: Sequence[str]) -> LabelGuess:
    """Raises ValueError where no candidate column can hold labels."""
    cells = {name: train.column(name) for name in candidates}
    flags = [name for name in candidates if set(cells[name]) <= FLAGS]
    if len(flags) > 1:
        return _columns(flags, cells)
    guesses = {name: _separated(name, cells[name]) for name in candidates}
    usable = {name: guess for name, guess in guesses.items() if guess}
    if not usable:
        raise ValueError(
            f"none of the columns {list(candidates)} holds labels; expected one column of separated names, "
            f"such as cat|dog (not lists, such as ['cat', 'dog']), or one column of 0 and 1 for each label"
        )
    best = min(usable, key=lambda name: _unlikely(name, usable[name]))
    guess = usable[best]
    if len(usable) > 1:
        others = [name for name in usable if name != best]
        guess.questions.append(f"labels are read from column {best!r}, not from {others}: edit labels.column")
    return guess


def _unlikely(name: str, guess: LabelGuess) -> tuple:
    hinted = any(hint in name.lower() for hint in HINTS)
    return not hinted, guess.most < 2, len(guess.labels.names)


def _columns(names: list[str], cells: dict[str, list[str]]) -> LabelGuess:
    flags = [[cell[0] == "1" for cell in cells[name]] for name in names]
    sizes = [sum(row) for row in zip(*flags, strict=True)]
    counts = {name: sum(column) for name, column in zip(names, flags, strict=True)}
    return LabelGuess(Labels(format="columns", names=names), min(sizes), max(sizes), counts)


def _separated(column: str, cells: list[str]) -> LabelGuess | None:
    if any(cell.lstrip().startswith("[") for cell in cells):
        return None
    separator, question = guess_separator(cells)
    rows = [set(split(cell, separator)) for cell in cells]
    counts = Counter(name for row in rows for name in row)
    if len(counts) < 2:
        return None
    names = sorted(counts, key=natural_key)
    questions = [f"column {column!r}: {question}"] if question else []
    if len(names) > min(MANY, max(20, len(rows) // 2)):
        questions.append(
            f"column {column!r} gives {len(names):,} label names on {len(rows):,} rows, such as {names[0]!r} "
            f"and {names[-1]!r}: edit labels.column, labels.separator and labels.names if wrong"
        )
    sizes = [len(row) for row in rows]
    labels = Labels(format="separated", column=column, separator=separator, names=names)
    return LabelGuess(labels, min(sizes), max(sizes), {name: counts[name] for name in names}, questions)


def split(cell: str, separator: str) -> list[str]:
    return [part for part in (p.strip() for p in cell.split(separator)) if part]


def guess_separator(cells: Iterable[str]) -> tuple[str, str]:
    """(separator, question or ''): what cuts the cells into names that come again in other cells.

    >>> guess_separator(["fire hydrant|dog", "dog", "fire hydrant|stop sign", "stop sign"])
    ('|', '')
    """
    distinct = {cell.strip() for cell in cells} - {""}
    marks = [mark for mark in MARKS if any(mark in cell for cell in distinct)]
    fitting = [mark for mark in marks if _recurring(distinct, mark) >= 0.5]
    if fitting:
        best = min(fitting, key=lambda mark: len({name for cell in distinct for name in split(cell, mark)}))
        others = [mark for mark in fitting if mark != best]
        return best, f"cut at {best!r}, not at {others}: edit labels.separator if wrong" if others else ""
    unused = next((mark for mark in MARKS if mark not in marks), "\t")
    if marks:
        return unused, f"{marks} are taken as parts of the names: edit labels.separator if they cut labels"
    if not any(" " in cell for cell in distinct):
        return " ", "every row has at most one label; a space will cut them: edit labels.separator if wrong"
    numbers = all(part.isdecimal() for cell in distinct for part in cell.split())
    if numbers or _recurring(distinct, " ") >= 0.5:
        return " ", ""
    return unused, "spaces are taken as parts of the names: set labels.separator = ' ' if they cut labels"


def _recurring(distinct: set[str], separator: str) -> float:
    """The share of names in cells with a separator that stand in another cell as well."""
    cells = {cell: set(split(cell, separator)) for cell in distinct}
    cells_with = Counter(name for names in cells.values() for name in names)
    cut = [name for cell, names in cells.items() if separator in cell for name in names]
    return sum(cells_with[name] > 1 for name in cut) / max(len(cut), 1)
