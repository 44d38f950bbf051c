"""A table that the user adds, CSV or parquet: its cells by column, and its rows matched with ours by id."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.types as pt

from tandem.artifacts.column_names import read_parquet
from tandem.artifacts.user_files import UnusableFile, by_descriptor, open_file
from tandem.data.csv_reader import read_table
from tandem.data.image_names import image_suffix

MAX_BYTES = 2**36  # of a parquet file
SHOWN = 3  # names in a message
INDEX = "__index_level_0__"  # as pandas writes an index without a name to parquet


@dataclass(frozen=True)
class UserTable:
    """A file with a row for each id, before its values are read."""

    file: Path
    columns: tuple[str, ...]
    places: Sequence[str]  # (n,) of each row, such as "line 2"
    column: Callable[[str], Sequence[object]]  # (n,) cells of a column
    counters: tuple[str, ...] = ()  # columns without a name that number the rows

    def texts(self, name: str) -> list[str]:
        """(n,) cells as text; a whole number has no fraction, an empty cell is ""."""
        return [_text(cell) for cell in self.column(name)]


def _text(cell: object) -> str:
    if cell is None:
        return ""
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def read_user_table(file: Path) -> UserTable:
    """Raises UnusableFile, or ValueError with file and line where it is no table with a header line."""
    if file.suffix.lower() != ".parquet":
        table = read_table(file)
        places = [f"line {line}" for line in table.lines]
        return UserTable(file, table.columns, places, table.column, table.row_numbers)
    try:
        with open_file(file, MAX_BYTES) as opened:
            content = read_parquet(Path(by_descriptor(opened)))
        names = tuple(content.column_names)
    except UnusableFile:
        raise
    except ValueError as error:
        why = " ".join(str(error.__cause__ or error).split())  # of pyarrow some have several lines
        raise ValueError(f"{file}: not a parquet file ({why})") from error
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{file}: the columns {repeated[:SHOWN]} are repeated; expected each name once")
    counters = (INDEX,) if INDEX in names and pt.is_integer(content.schema.field(INDEX).type) else ()
    places = [f"row {i + 1}" for i in range(content.num_rows)]

    def column(name: str) -> list[object]:  # not every value that parquet can hold is one of Python's
        values = content.column(name)
        try:
            return values.to_pylist()
        except (pa.ArrowException, ArithmeticError, LookupError, ValueError) as error:
            what = f"column {name!r} of {values.type} can't be read ({error}); write it as numbers or texts"
            raise ValueError(f"{file}: {what}") from error

    return UserTable(file, names, places, column, counters)


def listed(names: Sequence[str]) -> str:
    """The first names, for a message."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def first_repeated(ids: Sequence[str]) -> tuple[int, int] | None:
    """(row, earlier row) of the first id that is there already; None where each is there once.

    >>> first_repeated(["1", "2", "1"])
    (2, 0)
    """
    first: dict[str, int] = {}
    return next(((row, first[id]) for row, id in enumerate(ids) if first.setdefault(id, row) != row), None)


def match_ids(given: Sequence[str], wanted: Sequence[str]) -> dict[str, int]:
    """{wanted id: its row among `given`}: the same id, else the same but for the suffix of an image file, where no two
    ids differ in that alone.

    >>> match_ids(["2", "1.png", "9"], ["1.jpg", "2.jpg"])
    {'1.jpg': 1, '2.jpg': 0}
    """
    rows = {id: row for row, id in enumerate(given)}
    stems, own = _by_stem(given), _by_stem(wanted)
    found = {}
    for id in wanted:
        stem = _stem(id)
        alone = len(own[stem]) == 1 and len(stems.get(stem, ())) == 1
        if id in rows or alone:
            found[id] = rows[id] if id in rows else rows[stems[stem][0]]
    return found


def _by_stem(ids: Iterable[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for id in ids:
        found.setdefault(_stem(id), []).append(id)
    return found


def _stem(id: str) -> str:
    return id.removesuffix(image_suffix(id))
