"""Rows of JSON-lines files, and of JSON files that hold a list of objects."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tandem.data.csv_repair import CsvError

Rows = tuple[tuple[str, ...], list[tuple[str, ...]], list[int]]  # columns, cells, first line of each row
SUFFIXES = (".jsonl", ".ndjson", ".json")
STARTS_JSON = re.compile(r'\s*(\{\s*"|\[\s*\{)')
NOT_TEXT = re.compile("[\0\ud800-\udfff]")
SPARSE = 10_000_000  # cells from which on the objects must have some keys in common


class _Number(str):
    """A number as it is written."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        repeated = sorted(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"an object repeats the key {repeated[0]!r:.80}")
    return found


DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_Number, parse_float=_Number, parse_constant=_Number, strict=False
)


def read_json_rows(text: str, is_list: bool = False) -> Rows:
    """All rows.

    One row for each object, one column for each key; a missing or null value is an empty cell, a list or an object
    is a cell of JSON text, a number is as written. Raises CsvError with the line where there is another value.
    """
    objects: list[dict[str, str]] = []
    lines: list[int] = []
    at, line, counted = _skip(text, 0), 1, 0
    in_list = text.startswith("[", at)
    at = _skip(text, at + 1) if in_list else at
    while at < len(text) and not (in_list and text[at] == "]"):
        line, counted = line + text.count("\n", counted, at), at
        try:
            value, end = DECODER.raw_decode(text, at)
            cells = {key: _cell(inner) for key, inner in value.items()} if isinstance(value, dict) else None
        except RecursionError:
            raise CsvError(line, "not a row: lists or objects are nested too deeply") from None
        except ValueError as error:
            raise CsvError(line, f"not valid JSON: {getattr(error, 'msg', error)}") from None
        if cells is None:
            raise CsvError(line, f"{_json(value)[:40]} is not an object; expected one for each row")
        objects.append(cells)
        lines.append(line)
        at = _next(text, end, in_list, line)
    if in_list and (at >= len(text) or _skip(text, at + 1) < len(text)):
        raise CsvError(line, "the list has no end, or text follows it; the file is cut off or damaged")
    if is_list and not in_list and len(objects) == 1:
        keys = list(objects[0])[:9]
        raise CsvError(1, f"one object with the keys {keys}; expected a list of objects, one for each row")
    columns = tuple(dict.fromkeys(key for value in objects for key in value))
    if not columns:
        raise CsvError(1, "there are no objects with keys; expected one object for each row")
    _require_names(columns, objects, lines)
    rows = [tuple(value.get(key, "") for key in columns) for value in objects]
    for row, line in zip(rows, lines, strict=True):
        if any(NOT_TEXT.search(cell) for cell in row):
            raise CsvError(line, "a text holds a NUL or a half of a surrogate pair; remove it")
    return columns, rows, lines


def _require_names(columns: Sequence[str], objects: Sequence[dict[str, str]], lines: Sequence[int]) -> None:
    """Raises CsvError where a key is no name of a column, or where most cells would be empty."""
    names = Counter(key.strip() for key in columns)
    wrong = {key: "has no name" for key in columns if not key.strip()}
    wrong |= {key: "is there twice, with and without spaces" for key in columns if names[key.strip()] > 1}
    wrong |= {key: "holds a NUL or a half of a surrogate pair" for key in columns if NOT_TEXT.search(key)}
    for value, line in zip(objects, lines, strict=True):
        if found := [key for key in value if key in wrong]:
            raise CsvError(line, f"a key {wrong[found[0]]}: {ascii(found[0]):.80}")
    if (cells := len(columns) * len(objects)) > SPARSE and cells > 50 * sum(map(len, objects)):
        few = f"{len(columns):,} different keys in {len(objects):,} objects"
        raise CsvError(lines[-1], f"{few}, most of them in few; expected the same keys in each")


def _next(text: str, end: int, in_list: bool, line: int) -> int:
    """The start of the next object; raises CsvError where there is neither a comma nor a line end before it."""
    at = _skip(text, end)
    if not in_list:
        if at < len(text) and "\n" not in text[end:at]:
            raise CsvError(line, "text follows the object; expected one object on each line")
        return at
    if text.startswith(",", at):
        after = _skip(text, at + 1)
        if text.startswith("{", after):
            return after
    if not text.startswith("]", at):
        raise CsvError(line, "after this object: expected a comma and the next object, or the end of the list")
    return at


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _cell(value: Any) -> str:
    return "" if value is None else str(value) if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_json, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_json(key)}: {_json(inner)}' for key, inner in value.items())}}}"
    return json.dumps(value, ensure_ascii=False)
