"""Digests of files, kept beside size and time stamp, so that no large file is read twice."""

import time
from collections.abc import Callable
from pathlib import Path

from tandem.artifacts.atomic_io import file_digest, read_json, write_json

VERSION = 1  # of the layout of the cache file
SETTLED_NS = 2 * 10**9  # a file younger than this may change again within one tick of its time stamp

Stamp = tuple[int, ...]  # size in bytes, mtime in ns, inode


class DigestCache:
    """Digests of file contents (see `file_digest`), kept in `file`; a damaged or older one counts as empty."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries = _read(file)
        self._changed = False

    def digest_of(self, path: Path) -> str:
        """First 16 hex digits of the SHA-256 of the file's bytes; raises OSError where it cannot be read."""
        return self.value(path, "", lambda: file_digest(path))

    def value(self, path: Path, name: str, compute: Callable[[], str]) -> str:
        """The result of `compute`, kept under `name` until the file changes; raises OSError where there is no file."""
        stamp, entry = _stamp(path), f"{path.as_posix()}#{name}" if name else path.as_posix()
        known = self._entries.get(entry)
        if known and known[0] == stamp:
            return known[1]
        started = time.time_ns()
        found = compute()
        if abs(stamp[1] - started) >= SETTLED_NS and _stamp(path) == stamp:  # later: the clock was set back since
            self._entries[entry] = stamp, found
            self._changed = True
        return found

    def last(self, path: Path, name: str) -> str:
        """The last known result kept under `name`, whatever the file is now; "" where there is none."""
        return self._entries.get(f"{path.as_posix()}#{name}", ((), ""))[1]

    def save(self) -> None:
        """Writes the cache file where a digest was added."""
        if self._changed:
            files = {path: [*stamp, digest] for path, (stamp, digest) in self._entries.items()}
            write_json(self.file, {"version": VERSION, "files": files})
            self._changed = False


def _stamp(path: Path) -> Stamp:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _read(file: Path) -> dict[str, tuple[Stamp, str]]:
    try:
        content = read_json(file)
        entries = content["files"].items() if content["version"] == VERSION else ()
        return {path: (tuple(map(int, stamp)), str(digest)) for path, (*stamp, digest) in entries}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
