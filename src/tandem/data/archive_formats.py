"""Members of zip and tar archives and of single compressed files, opened by what the file holds, not by its name."""

import bz2
import gzip
import lzma
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tandem.artifacts.user_files import open_file, read_start

COMPRESSED: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\0": lzma.open}
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
SUFFIXES = (*TAR_SUFFIXES, ".zip", ".gz", ".bz2", ".xz")  # the longer ones first where one ends with another
RAR, SEVEN_ZIP, ZSTANDARD = "a RAR archive (unrar x)", "a 7z archive (7z x)", "a Zstandard file (zstd -d)"
OTHER_KINDS = {".rar": RAR, ".7z": SEVEN_ZIP}  # and what unpacks them
STARTS = {b"Rar!\x1a": RAR, b"7z\xbc\xaf'\x1c": SEVEN_ZIP, b"\x28\xb5\x2f\xfd": ZSTANDARD}
BY_HAND = "unpack it with that program, then run: make import DIR=unpacked COMP=mine"
WEB_PAGE = re.compile(rb"\s*<(!doctype|html|head)", re.IGNORECASE)
MAX_ARCHIVE_BYTES = 200 * 2**30
LFS = b"version https://git-lfs"


@dataclass(frozen=True)
class Member:
    """A file or folder of an archive."""

    name: str  # as the archive spells it
    size: int  # bytes as the archive says; -1: it does not say
    is_folder: bool
    problem: str  # the reason not to unpack it, or ''
    open: Callable[[], IO[bytes]]


def archive_stem(name: str) -> str | None:
    """The name without the suffix of an archive, or None where it has no such suffix.

    >>> archive_stem("train.tar.gz"), archive_stem("train.csv.gz"), archive_stem("train.csv")
    ('train', 'train.csv', None)
    """
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), None)
    return name[: -len(suffix)] or None if suffix else None


@contextmanager
def open_archive(path: Path, shown: str) -> Iterator[Iterable[Member]]:
    """The members, which can be opened inside the context; `shown` names the archive in errors.

    Raises ValueError where the file is damaged or of another kind, also while members are read.
    """
    start = read_start(path, 512)
    if kind := next((kind for mark, kind in STARTS.items() if start.startswith(mark)), None):
        raise ValueError(f"{shown} is {kind}; {BY_HAND}")
    if WEB_PAGE.match(start):
        raise ValueError(f"{shown}: a web page (such as a sign-in page), not a zip file; sign in and download it again")
    if start.startswith(LFS):
        raise ValueError(f"{shown}: a Git LFS pointer, not the archive itself; run: git lfs pull")
    compressed = any(start.startswith(mark) for mark in COMPRESSED)
    is_tar = start[257:262] == b"ustar" or path.name.lower().endswith(TAR_SUFFIXES)
    try:
        if is_tar or (compressed and _holds_tar(path)):
            with _open(path) as file, tarfile.open(fileobj=file) as tar:
                yield (_tar_member(tar, info) for info in tar)
        elif compressed:
            with _open(path) as file:
                yield [_only_member(path, file, start)]
        else:
            with _open(path) as file, zipfile.ZipFile(file) as opened:
                yield [_zip_member(opened, info) for info in opened.infolist()]
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError) as error:
        kind = "tar" if is_tar or compressed else "zip"
        raise ValueError(f"{shown}: damaged, or not a {kind} file: {error}; download it again") from error
    except NotImplementedError as error:
        raise ValueError(f"{shown}: {error}; pack it again with deflate compression") from error
    except OSError as error:
        if error.errno is not None:
            raise
        raise ValueError(f"{shown}: damaged: {error}; download it again") from error  # bz2 has no error of its own


def _open(path: Path) -> IO[bytes]:
    return open_file(path, MAX_ARCHIVE_BYTES)


def _holds_tar(path: Path) -> bool:
    try:
        with _open(path) as file, tarfile.open(fileobj=file):
            return True
    except tarfile.ReadError:
        return False


def _only_member(path: Path, file: IO[bytes], start: bytes) -> Member:
    opener = next(opener for mark, opener in COMPRESSED.items() if start.startswith(mark))
    name = archive_stem(path.name) or f"{path.name}.unpacked"

    def read() -> IO[bytes]:
        file.seek(0)
        return opener(file, "rb")

    return Member(name, -1, False, "", read)


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    by_hand = "unpack the archive by hand and run: make import DIR=unpacked COMP=mine"
    encrypted = f"is encrypted; {by_hand}" if info.flag_bits & 1 else ""
    problem = _problem(info.orig_filename, kind in (0, stat.S_IFREG, stat.S_IFDIR)) or encrypted
    return Member(info.orig_filename, info.file_size, info.is_dir(), problem, lambda: opened.open(info))


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    def read() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None, info.name  # a regular file
        return file

    problem = _problem(info.name, info.isreg() or info.isdir())
    return Member(info.name, info.size, info.isdir(), problem, read)


def _problem(name: str, is_regular: bool) -> str:
    """The reason not to unpack a member of this name, or ''."""
    problems = {
        "has an invalid name": not name.strip("/") or any(ord(c) < 32 or "\ud800" <= c <= "\udfff" for c in name),
        "contains a backslash; expected / between folders": "\\" in name,
        "has an absolute path": name.startswith("/") or re.match(r"[A-Za-z]:", name),
        "leaves the folder with '..'": ".." in name.split("/"),
        "is a link or a device; only files and folders are unpacked": not is_regular,
    }
    return next((problem for problem, found in problems.items() if found), "")
