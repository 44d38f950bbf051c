"""Tables in the terminal that leave out columns where it is narrow."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

GAP = 2  # columns of the terminal between two columns of a table


@dataclass
class Column:
    """A column of numbers; the lower its `rank`, the longer it stays where the terminal is narrow."""

    heading: str
    rank: int
    cells: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        lines = [self.heading, *(line for cell in self.cells for line in _plain(cell).split("\n"))]
        return max(map(len, lines)) + GAP


def fitting(columns: Sequence[Column], names: Sequence[str], width: int) -> list[Column]:
    """Those that stand whole beside the names, in order, by their rank; at least one; none is of empty cells."""
    longest = max(len(line) for name in names for line in _plain(name).split("\n"))
    left = width - min(longest, max(16, width // 3))
    kept: list[Column] = []
    for column in sorted((c for c in columns if any(c.cells)), key=lambda c: c.rank):
        if not kept or column.width <= left:
            kept.append(column)
            left -= column.width
        else:
            break
    return [column for column in columns if any(column is one for one in kept)]


def _plain(cell: str) -> str:
    return Text.from_markup(cell).plain


def table_of(
    title: str,
    caption: str,
    names: Sequence[str],
    columns: Sequence[Column],
    styles: Sequence[str],
    heading: str = "experiment",
) -> Table:
    """Names are wrapped where there is no room; numbers never."""
    table = Table(box=SIMPLE_HEAD, title=title, caption=caption, collapse_padding=True, pad_edge=False)
    table.add_column(heading, style="bold", overflow="fold")
    for column in columns:
        table.add_column(column.heading, justify="right", no_wrap=True, min_width=column.width - GAP)
    for i, name in enumerate(names):
        table.add_row(name, *(column.cells[i] for column in columns), style=styles[i])
    return table
