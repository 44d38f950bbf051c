"""Random tables with known rows, written by a writer of its own."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

WORDS = (
    "a cat sits on the mat", "größe", "naïve café", "two dogs, one ball", 'the sign says "stop"', '"', '""', "x; y | z",
    "tab\there", "line\nbreak", "windows\r\nbreak", "end with quote\"", "=1+1", "-1", "1e5", "NULL", "nan",
    "#no comment", "a\n\nb", "你好", "🐈 cat", "’quoted’", "back\\slash", "{\"a\": 1}", "[1, 2]", "comma,", "x" * 300,
    "\u2028", "'", "0012", "\nfirst", "a \"b\", \"c\" d", "tom & jerry", "sep=;", "1.5", "true", "%", "\u00a0", "é",
    "a\n3.jpg,1,b",
)  # fmt: skip
CODES = ("cat", "dog", "cat dog", "1 2", "0", "1", "", "17", "a|b", "x;y")
NAMES = ("caption", "labels", "n", "the title", "ärger", "a;b", 'say "hi"', "x,y", "price in $", "Tags", "z", "w")
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "cp1252", "shift_jis")
SUFFIXES = {",": ".csv", ";": ".csv", "\t": ".tsv", "|": ".psv"}


@dataclass(frozen=True)
class Written:
    """A file, and what it holds.

    encoding  that read_table is to be told; None where the file itself shows it
    """

    file: Path
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    encoding: str | None = None


def random_rows(rng: np.random.Generator) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Names of columns and rows; the first column is an id, as in competitions."""
    width = int(rng.integers(1, 6))
    columns = ("id", *(NAMES[i] for i in rng.choice(len(NAMES), width - 1, replace=False)))
    kinds = rng.integers(0, 3, width)
    rows = []
    for i in range(int(rng.choice([0, 1, 2, 5, 20, 120], p=[0.05, 0.1, 0.1, 0.3, 0.35, 0.1]))):
        cells = [f"{i}.jpg" if kinds[0] else f"im_{i:05}"]
        for kind in kinds[1:]:
            if kind == 0:
                cells.append(str(rng.choice(CODES)))
            elif kind == 1:
                cells.append(str(int(rng.integers(-9, 99))))
            else:
                cells.append(" ".join(WORDS[j] for j in rng.integers(0, len(WORDS), int(rng.integers(1, 4)))))
        rows.append(tuple(cells))
    return columns, rows


def quoted(cell: str, delimiter: str, always: bool) -> str:
    """The cell by RFC 4180: in quotes where it must be, each quote inside twice."""
    special = any(mark in cell for mark in (delimiter, '"', "\n", "\r")) or cell != cell.strip()
    return '"' + cell.replace('"', '""') + '"' if always or special else cell


def table_text(columns: tuple[str, ...], rows: list[tuple[str, ...]], rng: np.random.Generator, delimiter: str) -> str:
    """The table as text; in a header that has other delimiters too, all names are in quotes."""
    always, end = rng.random() < 0.3, str(rng.choice(["\n", "\r\n"]))
    odd = any(mark in name for name in columns for mark in SUFFIXES)
    lines = [delimiter.join(quoted(name, delimiter, always or odd) for name in columns)]
    for row in rows:
        if rng.random() < 0.02:
            lines.append(str(rng.choice(["", "  ", delimiter * (len(columns) - 1)])))
        lines.append(delimiter.join(quoted(cell, delimiter, always or len(row) == 1) for cell in row))
    return end.join(lines) + end * int(rng.integers(0, 3))


def write_table(folder: Path, rng: np.random.Generator) -> Written:
    """A well-written table, CSV in four out of five."""
    columns, rows = random_rows(rng)
    if rng.random() < 0.2:
        return write_json_table(folder, rng, columns, rows)
    delimiter = str(rng.choice(list(SUFFIXES)))
    text = table_text(columns, rows, rng, delimiter)
    encoding = str(rng.choice(ENCODINGS, p=[0.5, 0.2, 0.1, 0.04, 0.04, 0.08, 0.04]))
    try:
        data = text.encode(encoding)
    except UnicodeEncodeError:
        encoding, data = "utf-8", text.encode()
    file = folder / f"table{SUFFIXES[delimiter]}"
    file.write_bytes(data)
    return Written(file, columns, rows, None if encoding in ENCODINGS[:4] else encoding)


def write_json_table(
    folder: Path, rng: np.random.Generator, columns: tuple[str, ...], rows: list[tuple[str, ...]]
) -> Written:
    """JSON lines, or a list of objects over several lines; an empty table has no columns there, so it gets a row."""
    rows = rows or [tuple("0" for _ in columns)]
    ascii_only = bool(rng.random() < 0.5)
    objects = [json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=ascii_only) for row in rows]
    as_list = bool(rng.random() < 0.5)
    text = "[" + ",\n".join(objects) + "]\n" if as_list else "\n".join(objects) + "\n"
    file = folder / ("table.json" if as_list else str(rng.choice(["table.jsonl", "table.ndjson"])))
    file.write_text(text, encoding=str(rng.choice(["utf-8", "utf-8-sig"])), newline="")
    return Written(file, columns, rows)
