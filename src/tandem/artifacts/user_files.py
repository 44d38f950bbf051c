"""Opens the files that a user gave: regular files only, checked when open, and never more bytes than a limit."""

import io
import os
import stat
from pathlib import Path
from typing import Any

BLOCK = 2**20  # bytes read at once
KINDS = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
SETTINGS_BYTES = 16 * 2**20  # of a file that a person writes: TOML, Python, a list of ids


class UnusableFile(ValueError, OSError):
    """A file that cannot be read; `reason` is the message without the name of the file."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} {reason}")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        return type(self), (self.path, self.reason)


class MissingFile(UnusableFile, FileNotFoundError):
    """There is no such file, or it is a link to one that does not exist."""


class LargeFile(UnusableFile):
    """It has more bytes than are read."""


class _Limited(io.FileIO):
    """Raises UnusableFile where more than `limit` bytes are read: a file may grow, or not tell its size."""

    def __init__(self, path: Path, limit: int) -> None:
        super().__init__(path, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK | os.O_NOCTTY))
        self.path, self.limit = path, limit

    def readinto(self, buffer: Any) -> int | None:
        count = super().readinto(buffer)
        if self.tell() > self.limit:
            raise _too_large(self.path, "has more than", self.limit, self.limit)
        return count

    def readall(self) -> bytes:
        return b"".join(iter(lambda: io.RawIOBase.read(self, BLOCK), b""))


def is_there(path: Path) -> bool:
    """Whether a name is used by something other than a folder; also by what `open_file` refuses, which is no reason to
    go on as if there were no file."""
    return os.path.lexists(path) and not path.is_dir()


def open_file(path: Path, limit: int) -> io.BufferedReader:
    """A regular file of at most `limit` bytes, opened to read bytes.

    Raises MissingFile, LargeFile, or UnusableFile where it is a folder, named pipe, device or socket, or not readable.
    """
    try:
        _require_regular(path, path.stat())  # a device is not even opened: that may have effects
        file = _Limited(path, limit)
        try:
            status = os.fstat(file.fileno())
            _require_regular(path, status)  # what was opened: the name may be that of another file by now
            if status.st_size > limit:
                raise _too_large(path, "has", status.st_size, limit)
        except BaseException:
            file.close()
            raise
        return io.BufferedReader(file)
    except UnusableFile:
        raise
    except FileNotFoundError as error:
        is_link = path.is_symlink()
        raise MissingFile(path, "is a link to a file that does not exist" if is_link else "does not exist") from error
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UnusableFile(path, f"cannot be read: {reason}") from error


def by_descriptor(file: io.BufferedReader) -> str:
    """A name of the open file, for libraries that open files by their names: never another file."""
    return f"/dev/fd/{file.fileno()}"


def read_bytes(path: Path, limit: int) -> bytes:
    """The whole file; raises as `open_file`."""
    with open_file(path, limit) as file:
        return file.read()


def read_start(path: Path, size: int) -> bytes:
    """The first `size` bytes of a file of any length, all where it has fewer; raises as `open_file`."""
    with open_file(path, 2**63) as file:
        return file.read(size)


def first_line(path: Path) -> str:
    """The first line, at most its first 100,000 bytes, where the file may be of any length and encoding."""
    start = read_start(path, 100_000).decode("utf-8-sig", "replace")
    return io.StringIO(start, newline=None).readline()


def read_text(path: Path, limit: int = SETTINGS_BYTES) -> str:
    """The text of a file in UTF-8, without its byte order mark; raises as `open_file`, and ValueError with the line
    where it is not UTF-8."""
    data = read_bytes(path, limit)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{path}: line {line}: byte 0x{data[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error


def _require_regular(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_kind, name in KINDS if is_kind(status.st_mode)), "a device")
        link = "a link to " if path.is_symlink() else ""
        raise UnusableFile(path, f"is {link}{kind}; expected a regular file")


def _too_large(path: Path, what: str, size: int, limit: int) -> LargeFile:
    return LargeFile(path, f"{what} {size:,} bytes; at most {limit:,} are read")
