"""Digests of files, kept beside size and time stamp, so that no large file is read twice."""

import time
from pathlib import Path

from tandem.artifacts.atomic_io import file_digest, read_json, write_json

VERSION = 1  # of the layout of the cache file
SETTLED_NS = 2 * 10**9  # a file younger than this may change again within one tick of its time stamp

Stamp = tuple[int, int, int]  # size in bytes, mtime in ns, inode


class DigestCache:
    """Digests of file contents (see `file_digest`), read again only where size, time stamp or inode changed.

    `file` holds them between runs; a damaged one, or one of another version, counts as empty.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._entries = _read(file)
        self._changed = False

    def digest_of(self, path: Path) -> str:
        """First 16 hex digits of the SHA-256 of the file's bytes; raises OSError where it cannot be read."""
        stamp = _stamp(path)
        known = self._entries.get(path.as_posix())
        if known and known[0] == stamp:
            return known[1]
        started = time.time_ns()
        digest = file_digest(path)
        if stamp[1] <= started - SETTLED_NS and _stamp(path) == stamp:
            self._entries[path.as_posix()] = stamp, digest
            self._changed = True
        return digest

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
        if content["version"] != VERSION:
            return {}
        return {
            path: ((int(size), int(mtime_ns), int(inode)), str(digest))
            for path, (size, mtime_ns, inode, digest) in content["files"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
