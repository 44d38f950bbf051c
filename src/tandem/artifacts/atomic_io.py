"""Atomic writing of files, and digests of contents."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from tandem.artifacts import whole_files
from tandem.artifacts.whole_files import file_digest as file_digest  # also for others
from tandem.runtime.disk import writing

UMASK = os.umask(0o077)  # there is no other way to ask for it than to set it
os.umask(UMASK)
MODE = 0o666 & ~UMASK  # of a new file


def write_with(path: Path, write: Callable[[Path], object], size: int = 0) -> Path:
    """Calls `write` with a temporary name, then renames to `path`: a killed run leaves no half-written file.

    An error of the disk names the file, and its `size` in bytes where that is known.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path, size):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(partial)
            with suppress(OSError):  # some file systems have no modes
                partial.chmod(MODE)  # safetensors lets the owner alone read its files
            os.replace(partial, path)
        finally:
            with suppress(OSError):  # the first error counts
                partial.unlink(missing_ok=True)
    return path


def write_text(path: Path, text: str) -> Path:
    data = text.encode("utf-8")
    return write_with(path, lambda partial: partial.write_bytes(data), len(data))


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
    with writing(path):
        os.replace(new, path)
    return True


def read_json(path: Path) -> Any:
    """Raises DamagedFile, a ValueError that names the file, where it is not JSON or not what the graph wrote."""
    return whole_files.read_json(path)


def digest(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of `value` as canonical JSON."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
