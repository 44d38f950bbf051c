"""Members of zip and tar archives and of single compressed files, opened by what the file holds, not by its name."""

import bz2
import gzip
import lzma
import re
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from tandem.artifacts.read_errors import is_of_system, naming
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
AGAIN = "download it again"
UNPACK = "unpack the archive by hand and run: make import DIR=unpacked COMP=mine"
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)  # on Windows, by any suffix
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # Unicode categories: control characters, halves of pairs, ends of lines
BIDI = set(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))  # they show a name in another order
MAX_NAME, MAX_PATH, MAX_LEVELS = 255, 2000, 64  # bytes of a name and of a path, folders in one another
MAX_EXTENDED = 2**20  # bytes of a tar header for a long name: tarfile reads it into memory
# what reading a damaged member raises; a MemoryError where its dictionary is larger than memory
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error,
           RuntimeError, MemoryError, OverflowError)  # fmt: skip


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
            with _open(path) as file, tarfile.open(fileobj=file, tarinfo=_CheckedInfo) as tar:
                yield _tar_members(tar, shown)
        elif compressed:
            with _open(path) as file:
                yield [_only_member(path, file, start)]
        else:
            with _open(path) as file, _open_zip(file, shown) as opened:
                yield [_zip_member(opened, info, shown) for info in opened.infolist()]
    except NotImplementedError as error:  # a kind of RuntimeError
        raise ValueError(f"{shown}: {error}; pack it again with deflate compression") from error
    except DAMAGED as error:
        kind = "tar" if is_tar or compressed else "zip"
        what = " ".join(str(error).split())[:300]
        raise ValueError(f"{shown}: damaged, or not a {kind} file: {what}; {AGAIN}") from error
    except OSError as error:
        if is_of_system(error):
            raise
        raise ValueError(f"{shown}: damaged: {error}; download it again") from error  # bz2 has no error of its own


def _open(path: Path) -> IO[bytes]:
    return open_file(path, MAX_ARCHIVE_BYTES)


class _CheckedInfo(tarfile.TarInfo):
    """Refuses what tarfile would read into memory, or step back by."""

    def _proc_member(self, opened: tarfile.TarFile) -> Any:
        extended = self.type in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
        extended = extended or self.type in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
        if self.size < 0 or (extended and self.size > MAX_EXTENDED):
            raise tarfile.ReadError(f"a header of {self.size} bytes")
        return super()._proc_member(opened)  # type: ignore[misc]  # to be overridden, as its comment says


def _tar_members(tar: tarfile.TarFile, shown: str) -> Iterator[Member]:
    members = iter(tar)
    while True:
        with naming(shown, "damaged, or not a tar file", AGAIN):
            if (info := next(members, None)) is None:
                return
            member = _tar_member(tar, info)
        yield member


def _open_zip(file: IO[bytes], shown: str) -> zipfile.ZipFile:
    with naming(shown, "damaged, or not a zip file", AGAIN):
        try:
            return zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(str(error)) from error  # its kind says no more


def _holds_tar(path: Path) -> bool:
    try:
        with _open(path) as file, tarfile.open(fileobj=file, tarinfo=_CheckedInfo):
            return True
    except (tarfile.ReadError, EOFError, MemoryError, ValueError):
        return False


def _only_member(path: Path, file: IO[bytes], start: bytes) -> Member:
    opener = next(opener for mark, opener in COMPRESSED.items() if start.startswith(mark))
    name = archive_stem(path.name) or f"{path.name}.unpacked"

    def read() -> IO[bytes]:
        file.seek(0)
        return opener(file, "rb")

    return Member(name, -1, False, "", read)


def _zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> Member:
    kind = stat.S_IFMT(info.external_attr >> 16)
    encrypted = f"is encrypted; {UNPACK}" if info.flag_bits & 0x41 else ""

    def read() -> IO[bytes]:
        with naming(shown, f"member {info.orig_filename!r} is damaged", AGAIN):
            try:
                return opened.open(info)
            except zipfile.BadZipFile as error:
                raise ValueError(str(error)) from error

    problem = _problem(info.orig_filename, kind in (0, stat.S_IFREG, stat.S_IFDIR)) or encrypted
    return Member(info.orig_filename, info.file_size, info.is_dir(), problem, read)


def _tar_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    def read() -> IO[bytes]:
        file = tar.extractfile(info)
        assert file is not None, info.name  # a regular file
        return file

    problem = _problem(info.name, info.isreg() or info.isdir())
    return Member(info.name, info.size, info.isdir(), problem, read)


def _problem(name: str, is_regular: bool) -> str:
    """The reason not to unpack a member of this name, or ''."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    encoded = [len(part.encode("utf-8", "replace")) for part in parts]
    too_long = max(encoded, default=0) > MAX_NAME or sum(encoded) + len(parts) > MAX_PATH or len(parts) > MAX_LEVELS
    reserved = any(RESERVED.fullmatch(part) or part[-1] in ". " or ":" in part for part in parts)
    unseen = any(c in BIDI or unicodedata.category(c) in UNSEEN for c in name)
    problems = {
        "has an invalid name": not name.strip("/") or unseen,
        "contains a backslash; expected / between folders": "\\" in name,
        "has an absolute path": name.startswith("/") or re.match(r"[A-Za-z]:", name),
        "leaves the folder with '..'": ".." in name.split("/"),
        "is a link or a device; only files and folders are unpacked": not is_regular,
        f"has a name that Windows reserves or changes; rename it, or {UNPACK}": reserved,
        f"has a name longer than {MAX_NAME} bytes, or {MAX_LEVELS} folders; rename it, or {UNPACK}": too_long,
    }
    return next((problem for problem, found in problems.items() if found), "")
