"""Flags: cells that say whether a row has a label, in the ways that people write them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

NEGATIVE, POSITIVE, BLANK, UNCERTAIN, MINUS, ODD = range(6)  # MINUS: -1, which is negative or uncertain

_NUMBER = re.compile(r"([+-]?)([01])(\.0*)?")
_WORDS = {"true": "True/False", "false": "True/False", "t": "True/False", "f": "True/False"}
_WORDS |= {"yes": "yes/no", "no": "yes/no", "y": "yes/no", "n": "yes/no"}
_BLANK = {"", "nan", "na", "n/a", "null", "none"}
_UNCERTAIN = {"u", "uncertain", "unknown", "unsure", "?", "maybe"}
NUMBERS = "0/1"


def read_flag(cell: str) -> tuple[int, str]:
    """(NEGATIVE, POSITIVE ..., the form that the cell is written in, or "").

    >>> read_flag("0.0"), read_flag(" Yes"), read_flag("-1") == (MINUS, NUMBERS), read_flag("2") == (ODD, "")
    ((0, '0/1'), (1, 'yes/no'), True, True)
    """
    text = cell.strip().lower()
    if number := _NUMBER.fullmatch(text):
        return (NEGATIVE if number[2] == "0" else MINUS if number[1] == "-" else POSITIVE), NUMBERS
    if form := _WORDS.get(text):
        return (POSITIVE if text[0] in "ty" else NEGATIVE), form
    return (BLANK if text in _BLANK else UNCERTAIN if text in _UNCERTAIN else ODD), ""


@dataclass(frozen=True)
class FlagColumn:
    """A column of the training table, read as flags."""

    cells: Sequence[str]
    codes: np.ndarray  # (n,) int8: NEGATIVE, POSITIVE ...
    forms: dict[str, int]  # {form that occurs: first row of it}

    @classmethod
    def read(cls, cells: Sequence[str]) -> "FlagColumn":
        read = {cell: read_flag(cell) for cell in dict.fromkeys(cells)}  # in the order of their first rows
        forms: dict[str, int] = {}
        for cell, (_, form) in read.items():
            if form and form not in forms:
                forms[form] = cells.index(cell)
        return cls(cells, np.array([read[cell][0] for cell in cells], np.int8), forms)

    @cached_property
    def counts(self) -> list[int]:
        """Number of cells of each code."""
        return np.bincount(self.codes, minlength=ODD + 1).tolist()

    def first(self, code: int) -> int:
        """The first row with this code."""
        return int(np.flatnonzero(self.codes == code)[0])


def settle_minus(columns: Iterable[FlagColumn], as_uncertain: bool = False) -> np.ndarray:
    """(n, c) codes without MINUS: -1 is uncertain where any column has 0 (1, 0 and -1 are three values), or if told
    so; else it is negative (1 and -1 are two)."""
    codes = np.column_stack([column.codes for column in columns])
    as_uncertain = as_uncertain or bool((codes == NEGATIVE).any())
    codes[codes == MINUS] = UNCERTAIN if as_uncertain else NEGATIVE
    return codes
