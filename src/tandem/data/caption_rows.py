"""The captions of each row: several columns, and several rows an image."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice

from tandem.data.csv_reader import Table

ROWS = 1.5  # rows an image, on average, from which repeated ids are captions of one image and no mistake
VIEWS = 8  # captions of a row that are views of it
# endings of names that say nothing about what a column holds
ENDINGS = {"raw", "clean", "cleaned", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "zh"}


def name_words(column: str) -> tuple[str, ...]:
    """The words of a column's name in small letters, without numbers and the language at its end.

    >>> name_words("comment_text"), name_words("Caption2"), name_words("productTitle_en")
    (('comment', 'text'), ('caption',), ('product', 'title'))
    """
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", column)]
    while words and (words[-1].isdecimal() or words[-1] in ENDINGS):
        words.pop()
    return tuple(words)


def join_captions(captions: Sequence[str]) -> str:
    """One caption as it is; several with a space between them."""
    return captions[0] if len(captions) == 1 else " ".join(caption.strip() for caption in captions)


def row_captions(table: Table, columns: Sequence[str]) -> list[list[str]]:
    """(n,) the captions of each row: of caption1, caption2, ... one each; of others, such as title and text, one text.

    >>> table = Table(("title", "caption1", "caption2"), [("A", "a cat", "one cat")], [2])
    >>> row_captions(table, ["caption1", "caption2"]), row_captions(table, ["title", "caption1"])
    ([['a cat', 'one cat']], [['A a cat']])
    """
    cells = list(zip(*map(table.column, columns), strict=True))
    if len(columns) == 1:
        return [list(row) for row in cells]
    filled = [[cell for cell in row if cell.strip()] or [""] for row in cells]
    alternatives = len(set(map(name_words, columns))) == 1
    return filled if alternatives else [[join_captions(texts)] for texts in filled]


def as_views(captions: Sequence[Sequence[str]]) -> list[list[str]]:
    """The captions of each row, as many for all rows, at most VIEWS: those of a row with fewer are repeated.

    >>> as_views([["a", "b"], ["c"]])
    [['a', 'b'], ['c', 'c']]
    """
    n = min(VIEWS, max(map(len, captions), default=1))
    return [list(islice(cycle(texts), n)) for texts in captions]


def are_caption_rows(table: Table, id: str, captions: Sequence[str]) -> bool:
    """Whether the table has several rows an image, most of which differ in their captions.

    >>> rows = [("1", "a cat"), ("1", "one cat"), ("2", "a dog"), ("2", "one dog")]
    >>> table = Table(("id", "caption"), rows, [2, 3, 4, 5])
    >>> are_caption_rows(table, "id", ["caption"]), are_caption_rows(table, "caption", ["id"])
    (True, False)
    """
    ids = table.column(id)
    n = len(set(ids))
    if not captions or len(ids) < ROWS * n:
        return False
    differing = len(set(zip(ids, *map(table.column, captions), strict=True)))
    return differing - n >= (len(ids) - n) / 2


def join_caption_rows(table: Table, id: str, captions: Sequence[str]) -> tuple[Table, list[list[str]]]:
    """(the first row of each id, its captions): the captions of all rows of an id, each once."""
    first: dict[str, int] = {}
    found: dict[str, list[str]] = {}
    for row, (name, texts) in enumerate(zip(table.column(id), row_captions(table, captions), strict=True)):
        first.setdefault(name, row)
        found.setdefault(name, []).extend(texts)
    rows = list(first.values())
    joined = replace(table, rows=[table.rows[i] for i in rows], lines=[table.lines[i] for i in rows])
    return joined, [list(dict.fromkeys(filter(str.strip, texts))) or [""] for texts in found.values()]


def differing_rows(table: Table, id: str, columns: Sequence[str]) -> dict[str, list[int]]:
    """{id: lines} of the rows of one id that do not have the same cells in these columns."""
    lines: dict[str, dict[tuple[str, ...], int]] = {}
    for name, line, *cells in zip(table.column(id), table.lines, *map(table.column, columns), strict=True):
        lines.setdefault(name, {}).setdefault(tuple(cells), line)
    return {name: list(found.values()) for name, found in lines.items() if len(found) > 1}
