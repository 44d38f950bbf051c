"""Lists of label names in one cell, as Python and JSON write them."""

import ast
import io
import json
import tokenize
from collections.abc import Sequence

EXPECTED = "expected a list of names, such as ['cat', 'dog'] or [1, 2]"
_BRACKETS = {"[": "]", "(": ")", "{": "}"}


def looks_like_list(cell: str) -> bool:
    """Whether the cell is in brackets."""
    text = cell.strip()
    return len(text) > 1 and _BRACKETS.get(text[0]) == text[-1]


def parse_list(cell: str) -> list[str]:
    """The names in the cell, none for a blank one; raises ValueError where it is no flat list of texts and numbers.

    >>> parse_list("['Drama', 'Comedy']"), parse_list('["a", 1]'), parse_list("")
    (['Drama', 'Comedy'], ['a', '1'], [])
    """
    text = cell.strip()
    if not text:
        return []
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = _python_list(text)
    if not isinstance(values, list | tuple | set | frozenset):
        raise ValueError(f"{cell[:80]!r} is not a list; {EXPECTED}")
    if other := [v for v in values if isinstance(v, bool) or not isinstance(v, str | int | float)]:
        raise ValueError(f"{cell[:80]!r} holds {str(other[0])[:40]!r}, not a name; {EXPECTED}")
    return [name for name in map(str, values) if name]


def write_list(names: Sequence[str]) -> str:
    """A JSON list, which Python reads as well."""
    return json.dumps(list(names), ensure_ascii=False)


def _python_list(text: str) -> object:
    try:
        value = ast.literal_eval(text)
        tokens = [t.type for t in tokenize.generate_tokens(io.StringIO(text).readline)]
    except (ValueError, SyntaxError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"{text[:80]!r} cannot be read; {EXPECTED}") from error
    # literal_eval reads two texts without a comma between them, as numpy prints them, as one
    flat = isinstance(value, list | tuple | set) and all(isinstance(v, str | int | float) for v in value)
    if flat and tokens.count(tokenize.STRING) > sum(isinstance(v, str) for v in value):
        raise ValueError(f"{text[:80]!r} lacks commas between its names, or repeats one; {EXPECTED}")
    return value
