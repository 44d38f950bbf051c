"""Label cells of CSV files <-> rows of a 0/1 matrix; the order of its columns is decided here."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}  # how a cell of a label column may be written


def encode_flags(columns: Mapping[str, Sequence[str]]) -> tuple[np.ndarray, list[tuple[int, str, str]]]:
    """(y, wrong) of one 0/1 column per label: y (n, c) uint8, and each wrong cell, 0 in y, as (row, label, cell)."""
    cells = ((row, name, cell) for name, column in columns.items() for row, cell in enumerate(column))
    wrong = [(row, name, cell) for row, name, cell in cells if cell.strip() not in FLAGS]
    y = [[FLAGS.get(cell.strip(), 0) for cell in column] for column in columns.values()]
    return np.array(y, np.uint8).T, wrong


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

    def encode(self, cells: Iterable[str]) -> np.ndarray:
        """(n, c) uint8; raises ValueError naming the row (from 1) and the unknown label."""
        rows = [split_cell(cell, self.separator) for cell in cells]
        y, column = np.zeros((len(rows), len(self.names)), np.uint8), {name: j for j, name in enumerate(self.names)}
        for i, row in enumerate(rows):
            for name in row:
                if name not in column:
                    known = f"the {len(self.names)} known labels ({self.names[0]} ... {self.names[-1]})"
                    raise ValueError(f"row {i + 1}: label {name!r} is not one of {known}")
                y[i, column[name]] = 1
        return y

    def decode(self, y: np.ndarray) -> list[str]:
        """One cell per row, names in column order."""
        names = np.array(self.names, dtype=object)
        return [self.separator.join(names[row]) for row in np.asarray(y, bool)]


def split_cell(cell: str, separator: str) -> list[str]:
    """The label names in one cell; white space around them and empty parts are dropped."""
    return [part for part in (p.strip() for p in cell.split(separator)) if part]


def natural_key(name: str) -> tuple[int, int, str]:
    """Sort key: numbers by value (2 before 10), then words.

    >>> sorted(["10", "cat", "2"], key=natural_key)
    ['2', '10', 'cat']
    """
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)
