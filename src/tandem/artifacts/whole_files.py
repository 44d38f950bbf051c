"""Reading of files that the graph made: what was damaged is named in one error, and never read for a result."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from tandem.artifacts.paths import owners
from tandem.artifacts.tensor_file import check_header
from tandem.artifacts.user_files import open_file

VERSION = 1  # of the layout of the record
MODEL = "a model of this experiment"
AGAIN = "delete it and run the same command again"
COMPARED = 2**28  # bytes: a larger file is compared once in a process, where its size and time are as made
TOO_LARGE = 2**30  # bytes: of a larger one, only size and time are

Stamp = tuple[int, ...]  # size in bytes, mtime in ns, inode


class DamagedFile(ValueError):
    """A file that is not what was written; the message names it, and what to do."""


class Made(NamedTuple):
    """A file as it was made."""

    stamp: Stamp
    digest: str


def stamp_of(path: Path) -> Stamp | None:
    """None where there is no such file."""
    with suppress(FileNotFoundError, NotADirectoryError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns, status.st_ino
    return None


def file_digest(path: Path) -> str:
    """First 16 hex digits of the SHA-256 of the file's bytes; raises OSError where it is no regular file."""
    with open_file(path, 2**63) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def read_made(record: Path) -> dict[str, dict[str, Made]]:
    """{artifact: {file: as it was made}}; empty where the record is missing, damaged or of another version."""
    try:
        content = json.loads(record.read_bytes())
        found = content["artifacts"] if content["version"] == VERSION else {}
        return {
            artifact: {file: Made(tuple(map(int, stamp)), str(digest)) for file, (*stamp, digest) in files.items()}
            for artifact, files in found.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


@lru_cache(maxsize=8)
def _by_file(record: Path, stamp: Stamp) -> Mapping[str, Made]:
    del stamp  # another one is another content
    return {file: made for files in read_made(record).values() for file, made in files.items()}


def made_as(path: Path) -> Made | None:
    """As the graph made the file; None where that is not recorded, as in older competitions and in bundles."""
    for paths in owners(path):
        record = paths.made_files
        if stamp := stamp_of(record):
            return _by_file(record.absolute(), stamp).get(path.relative_to(paths.root).as_posix())
    return None


_compared: set[tuple[Path, Stamp]] = set()
_damaged: dict[Path, Stamp | None] = {}  # files that were found damaged, and their stamps since


def forget_damage() -> None:
    """Called where a run begins: it decides anew what must be made again, also in a process that runs several."""
    _damaged.clear()


def require_as_made(path: Path) -> None:
    """Raises DamagedFile where the content is not what the graph made, though size and time are; a file with others was
    written again since, or the graph makes it again."""
    damaged = f"{path}: damaged, its content is not what was written; run the same command again"
    if path in _damaged and _damaged[path] == stamp_of(path):  # a first reader may have gone on without it
        raise DamagedFile(damaged)
    made = made_as(path)
    if made is None or made.stamp[:2] != (stamp_of(path) or ())[:2] or made.stamp[0] > TOO_LARGE:
        return  # a copied file has another inode
    if made.stamp[0] > COMPARED and (path, made.stamp) in _compared:
        return
    if file_digest(path) != made.digest:
        with suppress(OSError):
            os.utime(path)  # so that the graph finds it and makes it again
        _damaged[path] = stamp_of(path)
        raise DamagedFile(damaged)
    _compared.add((path, made.stamp))


@contextmanager
def reading(path: Path, what: str, cure: str = AGAIN) -> Iterator[None]:
    """For a block that reads the file and nothing else, `what` such as "a parquet file": raises DamagedFile where it
    was damaged, whatever a library raises there."""
    require_as_made(path)
    try:
        if path.suffix == ".safetensors":
            check_header(path)
        yield
    except (DamagedFile, FileNotFoundError, PermissionError):
        raise
    except Exception as error:  # libraries raise many kinds
        why = str(error).split("\n")[0][:200] or type(error).__name__
        raise DamagedFile(f"{path}: damaged, not {what} ({why}); {cure}") from error


def read_json(path: Path) -> object:
    """The value; see `atomic_io.read_json`."""
    require_as_made(path)
    data = path.read_bytes()
    try:
        return json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{path}: damaged, not JSON ({error}); {AGAIN}") from error
