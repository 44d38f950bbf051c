"""Atomic writing of files, and digests of contents."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from tandem.artifacts.user_files import open_file


def write_with(path: Path, write: Callable[[Path], object]) -> Path:
    """Calls `write` with a temporary name, then renames to `path`: a killed run leaves no half-written file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        write(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    return write_with(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_json(path: Path, value: Any) -> Path:
    return write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


class _LineFeeds:
    """Ends the rows of csv.writer by a line feed; it quotes carriage returns only where its line ends have one."""

    def __init__(self, file: TextIO) -> None:
        self.file = file

    def write(self, row: str) -> None:
        self.file.write(row.removesuffix("\r\n") + "\n")


def csv_text(*rows: Iterable[object], delimiter: str = ",") -> str:
    """The rows as CSV (RFC 4180), each line ended by a line feed."""
    text = io.StringIO()
    csv.writer(_LineFeeds(text), delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def write_csv(path: Path, rows: Iterable[Iterable[object]], delimiter: str = ",") -> Path:
    """Like `csv_text`, row by row, so that the text is never in memory as a whole."""

    def write(partial: Path) -> None:
        with partial.open("w", encoding="utf-8") as file:
            csv.writer(_LineFeeds(file), delimiter=delimiter, lineterminator="\r\n").writerows(rows)

    return write_with(path, write)


def write_if_changed(path: Path, write: Callable[[Path], object]) -> bool:
    """Like `write_with`, but does not touch a file with the same bytes; True if the file changed."""
    before = file_digest(path) if path.exists() else ""
    new = write_with(path.with_name(f".{path.name}.new"), write)
    if file_digest(new) == before:
        new.unlink()
        return False
    os.replace(new, path)
    return True


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def file_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of the file's bytes; raises OSError where it is no regular file."""
    with open_file(path, 2**63) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
