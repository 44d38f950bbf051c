"""The form of a CSV file's rows, learned from its valid rows: patterns of the first cell, and quoted columns."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

PLAIN = r'[^",\r\n]*'
UNQUOTED = re.compile(PLAIN)
CELL = re.compile(r'"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n][^,\r\n]*|)')
KEY = re.compile(r'(?:"([^",\r\n]+)"|([^",\r\n]+)),')
SUFFIX = re.compile(r"\.[A-Za-z]{2,4}$")
RARE = 0.01  # share of rows: a rarer shape may come from a line inside a text
Cells = tuple[list[str], list[bool]]  # the cells of a row, and whether each is quoted


def split_cells(text: str, width: int) -> Cells | None:
    """The cells of one row by RFC 4180, or None where `text` is not exactly one row of `width` cells."""
    text = text.rstrip("\r\n")
    cells: list[str] = []
    quoted: list[bool] = []
    at = 0
    while cell := CELL.match(text, at):
        inner, plain = cell.groups()
        cells.append(plain if inner is None else inner.replace('""', '"'))
        quoted.append(inner is not None)
        at = cell.end()
        if at == len(text):
            return (cells, quoted) if len(cells) == width else None
        if text[at] != "," or len(cells) == width:
            return None
        at += 1
    return None


def shape(key: str, level: int) -> str:
    """The pattern of a key: level 0 replaces each number by 0, level 1 each word by w, except a file suffix.

    >>> shape("a12_7.jpg", 0), shape("a12-7.jpg", 1)
    ('a0_0.jpg', 'w-w.jpg')
    """
    if level == 0:
        return re.sub(r"\d+", "0", key)
    suffix = SUFFIX.search(key)
    end = suffix.start() if suffix else len(key)
    return re.sub(r"\w+", "w", key[:end]) + key[end:]


def learn_shapes(keys: Iterable[str]) -> tuple[int, set[str]]:
    """(level, shapes) of the keys; rare shapes without a file suffix are left out, except that of the first key."""
    keys = list(keys)
    spaced = any(c.isspace() for c in keys[0])
    for level in (0, 1):
        counts = Counter(shape(key, level) for key in keys if spaced or not any(c.isspace() for c in key))
        total = counts.total()
        known = {s for s, n in counts.items() if n > 1 and (n >= RARE * total or SUFFIX.search(s))}
        known.add(shape(keys[0], level))
        if sum(counts[s] for s in known) >= 0.9 * total:
            break
    return level, known


def key_of(line: str) -> str:
    """The first cell of a line, or '' where no comma follows it."""
    match = KEY.match(line)
    return (match[1] or match[2]) if match else ""


def has_row_start(lines: list[str], keys: Iterable[str]) -> bool:
    """Whether one of the lines starts like a row with one of these keys."""
    level, known = learn_shapes(keys)
    return any(shape(key, level) in known for key in map(key_of, lines) if key)


def are_uniform(keys: list[str]) -> bool:
    """Whether all keys are different and have the same shape."""
    return len(set(keys)) == len(keys) and any(len({shape(key, level) for key in keys}) == 1 for level in (0, 1))


def quotes_of_columns(lines: Iterable[str], width: int) -> tuple[set[int], set[int]]:
    """The columns with quotes around some cells, and those with quotes inside unquoted cells; `lines` are rows.

    >>> quotes_of_columns(['1,"a"', '2,b"c'], 2)
    ({1}, {1})
    """
    quoted: set[int] = set()
    bare: set[int] = set()
    for row in (split_cells(line, width) for line in lines if '"' in line):
        for j, (cell, marked) in enumerate(zip(*row, strict=True) if row else ()):
            if marked:
                quoted.add(j)
            elif '"' in cell:
                bare.add(j)
    return quoted, bare


def mixes_quotes(lines: list[str], width: int) -> bool:
    """Whether a column has quotes around some cells and unescaped quotes inside others."""
    quoted, bare = quotes_of_columns(lines, width)
    return bool(quoted & bare)


def has_bare_quote(cells: list[str], quoted: list[bool]) -> bool:
    return any('"' in cell and not marked for cell, marked in zip(cells, quoted, strict=True))


@dataclass(frozen=True)
class Grammar:
    """The form of the rows of a file."""

    kinds: str  # one letter per column: n never quoted; c code, sometimes; t text, always; T text, sometimes
    level: int
    known: set[str]  # shapes of the first cell, see `shape`

    @property
    def head(self) -> re.Pattern[str]:
        """Matches a row up to the quote that opens its text."""
        text = min(self.kinds.find(kind) for kind in "tT" if kind in self.kinds)
        cells = [f'"[^"\\r\\n]*"|{PLAIN}' if kind == "c" else PLAIN for kind in self.kinds[:text]]
        if text:
            spaced = any(re.search(r"\s", known) for known in self.known)
            cells[0] = r'"?[^",\r\n]+"?' if spaced else r'"?[^",\s]+"?'
        opening = '"' if self.kinds[text] == "t" else f'(?:"|{PLAIN}(?:,|\\r?$))'
        return re.compile("".join(f"(?:{cell})," for cell in cells) + opening)

    def describe(self) -> str:
        like = "" if self.kinds[0] in "tT" else f", the first like {min(self.known)!r} (0: any number)"
        return f"{len(self.kinds)} columns{like}, and quotes around the text"

    def is_key(self, key: str) -> bool:
        return self.kinds[0] in "tT" or (bool(key) and shape(key, self.level) in self.known)

    def readings(self, text: str, column: int = 0, at: int = 0) -> Iterator[tuple[str, ...]]:
        """All ways to split `text` into one row if quotes inside a text are not escaped."""
        last = column == len(self.kinds) - 1
        for end, cell in self._cells(self.kinds[column], text, at):
            if last and end == len(text):
                yield (cell,)
            elif not last and text[end : end + 1] == ",":
                yield from ((cell, *rest) for rest in self.readings(text, column + 1, end + 1))

    def _cells(self, kind: str, text: str, at: int) -> Iterator[tuple[int, str]]:
        if text[at : at + 1] != '"':
            if kind != "t" and (cell := UNQUOTED.match(text, at)):
                yield cell.end(), cell[0]
        elif kind == "c":
            if (end := text.find('"', at + 1)) > 0:
                yield end + 1, text[at + 1 : end]
        elif kind in "tT":
            for quote in re.compile(r'"(?=,|\Z)').finditer(text, at + 1):
                yield quote.end(), text[at + 1 : quote.start()]


def learn_grammar(first: str, rows: Iterable[Cells | None], width: int, keys: list[str] | None) -> Grammar | None:
    """Learned from the first line of the first row and all lines that are rows; None where no column is quoted."""
    valid = [row for row in rows if row and row[0][0].strip() and not has_bare_quote(*row)]
    if keys is None:
        keys = [key_of(first), *(cells[0] for cells, _ in valid)]
    level, known = learn_shapes(keys)
    valid = [row for row in valid if shape(row[0][0], level) in known]
    kinds = [_kind([(cells[j], quoted[j]) for cells, quoted in valid]) for j in range(width)]
    if not {"t", "T"} & set(kinds):
        coded = [j for j in range(width) if kinds[j] == "c"]
        if coded:
            kinds[max(coded, key=lambda j: sum(len(cells[j]) for cells, _ in valid))] = "T"
        else:
            before, quote, _ = first.partition('"')
            kinds = ["n"] * width
            if not quote or before.count(",") >= width:
                return None
            kinds[before.count(",")] = "t"
    return Grammar("".join(kinds), level, known)


def _kind(column: list[tuple[str, bool]]) -> str:
    if not any(quoted for _, quoted in column):
        return "n"
    marks = set().union(*(cell for cell, _ in column))
    if '"' in marks or (any(c.isspace() for c in marks) and any(c.isalpha() for c in marks)):
        return "t" if all(quoted for _, quoted in column) else "T"
    return "c"
