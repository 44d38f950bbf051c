"""Infers the text between two labels in one cell."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tandem.data.label_codec import split_cell, whole_number

MARKS = ("|", ";", ",", " ")  # usual between labels
OTHERS = (" & ", "/", "+", "_", "&")  # as usual inside a name
UNUSED = "|;,\t"
SHOWN = 2  # cells of an example
ENOUGH = 20_000  # different cells that are looked at

_SPACE = re.compile(r"[^\s|;,&/+]\s+[^\s|;,&/+]")
_MARKS = re.compile(r"[\s|;,&/+_-]+")


def guess_separator(cells: Iterable[str]) -> tuple[str, dict[str, str]]:
    """(separator, {} if it is certain, else the candidates with the names that they give).

    A separator fits where most names that it cuts off occur in other cells too, and no other one fits what it leaves.

    >>> guess_separator(["fire hydrant|dog", "dog", "fire hydrant|stop sign", "stop sign"])
    ('|', {})
    >>> guess_separator(["cat & dog", "dog", "sea & cat"])
    (' & ', {' & ': "'cat', 'dog', 'sea'", '|': "'cat & dog', 'sea & cat'"})
    """
    distinct = {cell.strip() for cell in cells} - {""}
    distinct = set(sorted(distinct)[:: len(distinct) // ENOUGH + 1])
    marks = [mark for mark in MARKS if _occurs(mark, distinct)]
    unused = next(mark for mark in UNUSED if mark == "\t" or not any(mark in cell for cell in distinct))
    if fitting := fitting_separators(distinct, marks):
        return fitting[0], _examples(distinct, fitting) if len(fitting) > 1 else {}
    if len(marks) == 1 and all(
        whole_number(part).isdecimal() for cell in distinct for part in split_cell(cell, marks[0])
    ):
        return marks[0], {}
    others = [mark for mark in OTHERS if _occurs(mark, distinct) and recurring_share(distinct, mark) > 1 / 3]
    others = [mark for mark in others if f" {mark} " not in others]
    if not marks and not others:  # at most one label in each row
        return unused if any(" " in cell for cell in distinct) else " ", {}
    best = others[0] if others else unused
    return best, _examples(distinct, dict.fromkeys([best, *others, *marks, unused]))


def _occurs(mark: str, distinct: set[str]) -> bool:
    """Whether any cell holds the mark; a space beside another mark belongs to that one."""
    within = _SPACE.search if mark == " " else lambda cell: mark in cell
    return any(within(cell) for cell in distinct)


def fitting_separators(distinct: set[str], marks: Sequence[str]) -> list[str]:
    """The mark that fits, or all that may where each leaves names that another one fits."""
    fitting = [mark for mark in marks if recurring_share(distinct, mark) > 0.5]
    left = {mark: {name for cell in distinct for name in split_cell(cell, mark)} for mark in fitting}
    last = [m for m in fitting if not any(recurring_share(left[m], other) > 0.5 for other in marks if other != m)]
    return last or (list(marks) if fitting else [])


def recurring_share(distinct: set[str], separator: str) -> float:
    """Share of the names in cells with a separator that occur in another cell too."""
    cells = {cell: set(split_cell(cell, separator)) for cell in distinct}
    n_cells = Counter(name for names in cells.values() for name in names)
    separated = [name for cell, names in cells.items() if separator in cell for name in names]
    if any(_MARKS.fullmatch(name) for name in separated):
        return 0.0  # it leaves names such as "&"
    return sum(n_cells[name] > 1 for name in separated) / max(len(separated), 1)


def _examples(distinct: set[str], separators: Iterable[str]) -> dict[str, str]:
    """{separator: the names that it gives}, from the same cells for each."""
    separators = list(separators)
    cut = [cell for cell in distinct if any(separator in cell for separator in separators)]
    cells = sorted(cut, key=lambda cell: (len(cell), cell))[:SHOWN]
    return {s: ", ".join({repr(name): 0 for cell in cells for name in split_cell(cell, s)}) for s in separators}
