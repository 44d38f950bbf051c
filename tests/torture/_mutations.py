"""Broken copies of tables, and a simple reader of its own for what is still plain."""

import re

import numpy as np

PIECES = (
    b'"', b'""', b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xc3",
    b"\xed\xa0\x80", b'"\n"', b" ", b"\\", b"<html>", b"{", b"[", b"}", b"\\ud800", b"1e999", b"NaN", b"null", b"\x1a",
    b"\xe2\x80\xa8", b"sep=;\n", b"<<<<<<< HEAD\n", b"x" * 140_000, b"," * 3_000, b"[" * 3_000, b'{"a":' * 3_000,
    b"9" * 5_000, b"'",
)  # fmt: skip


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four changes at random places."""
    for _ in range(int(rng.integers(1, 5))):
        at, end = sorted(rng.integers(0, len(data) + 1, 2).tolist())
        lines = data.split(b"\n")
        i, j = rng.integers(0, len(lines), 2).tolist()
        kind = int(rng.integers(0, 9))
        if kind <= 2:
            data = data[:at] + PIECES[int(rng.integers(len(PIECES)))] + data[at:]
        elif kind == 3:
            data = data[:at] + data[min(end, at + int(rng.integers(1, 30))) :]
        elif kind == 4:
            data = data[:end]
        elif kind == 5:
            lines.insert(i, lines[j])
            data = b"\n".join(lines)
        elif kind == 6:
            del lines[i]
            data = b"\n".join(lines)
        elif kind == 7 and data:
            at = min(at, len(data) - 1)
            data = data[:at] + bytes([int(rng.integers(256))]) + data[at + 1 :]
        else:
            a, b = (PIECES[k] for k in rng.integers(0, 9, 2).tolist())
            data = data.replace(a, b) if rng.random() < 0.5 else data.replace(a, b, 1)
    return data


def plain_rows(data: bytes) -> list[tuple[str, ...]] | None:
    """Header and rows of a table that can be read in one way only; None of any other: commas, one line a row, as many
    cells in each, no quotes but around whole cells, and nothing that could mean another form."""
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError:
        return None
    if re.search(r'[\0\r;\t|\\{}<>=\ufeff]|, | ,|""', text) or not text.strip():
        return None
    rows = []
    for line in text.split("\n"):
        if not line.strip(", "):
            continue
        cells = re.fullmatch(r'(?:"[^",]*"|[^",]*)(?:,(?:"[^",]*"|[^",]*))*', line)
        if cells is None:
            return None
        rows.append(tuple(cell.strip('"') for cell in line.split(",")))
    same = len({len(row) for row in rows}) == 1 and len(rows[0]) > 1
    names = [name.strip() for name in rows[0]] if rows else []
    return rows if same and all(names) and len(set(names)) == len(names) else None
