"""Safetensors files: the header is checked before the library parses it, and each error names the file."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import safe_open

from tandem.artifacts.read_errors import naming

MAX_HEADER = 64 * 2**20  # bytes; the vocabulary of a linear model is in it
MAX_KEYS = 500_000  # four for each tensor
CURE = "get the file again, or remove it and let make write it again"


def check_header(file: Path) -> None:
    """Raises ValueError for a header that is cut off, too large or nested, or says a key twice; the library itself
    compares types, shapes and offsets with the size of the file."""
    size = file.stat().st_size
    with naming(file, "no safetensors file", CURE), file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or length > size - 8:
            raise ValueError(f"its header should have {length} bytes, the file has {size}")
        if length > MAX_HEADER:
            raise ValueError(f"a header of {length} bytes; at most {MAX_HEADER}")
        header = opened.read(length)
        if (keys := header.count(b'":')) > MAX_KEYS:
            raise ValueError(f"a header of {keys} keys; at most {MAX_KEYS}")
        if not isinstance(json.loads(header, object_pairs_hook=_each_once), dict):
            raise ValueError("the header is no JSON object")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"the header has a key twice, one of {sorted(found)[:3]}")
    return found


@contextmanager
def open_tensors(file: Path, framework: str) -> Iterator[Any]:
    """As `safe_open` of safetensors for "np" or "pt"; raises ValueError where the file is none."""
    check_header(file)
    with naming(file, "no safetensors file", CURE), safe_open(file, framework) as opened:
        yield opened


def read_tensors(file: Path, framework: str = "np") -> dict[str, Any]:
    """All tensors, as numpy arrays or, for "pt", as tensors of torch; raises ValueError where the file is none."""
    with open_tensors(file, framework) as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
