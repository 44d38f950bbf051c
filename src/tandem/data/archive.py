"""Unpacking a stranger's zip, or copying a folder: nothing lands outside, nothing appears by half."""

import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tqdm import tqdm

from tandem.runtime.progress import progress

T = TypeVar("T")
CHUNK = 2**20
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = 50 * 2**30
MAX_TOTAL_BYTES = 200 * 2**30
MAX_RATIO = 200  # bytes that come out for each byte of the archive ...
FREE_BYTES = 64 * 2**20  # ... beyond these, which any archive may unpack to
JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".ipynb_checkpoints"}


def unpack(archive: Path, folder: Path) -> int:
    """Unpacks as the new `folder`, without a top folder that wraps all; returns the number of files."""
    if archive.is_dir():
        raise ValueError(f"{archive} is a folder; run: make import DIR={archive} COMP={folder.name}")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened)
            sizes = [member.file_size for member in members.values()]
            limit = FREE_BYTES + MAX_RATIO * archive.stat().st_size
            _build(folder, sizes, lambda partial, bar: _extract(opened, members, partial, limit, bar))
            return len(members)
    except FileNotFoundError as error:
        if error.filename is None or Path(error.filename) != archive:
            raise
        raise FileNotFoundError(f"{archive} does not exist; expected a zip file") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive}: damaged, or not a zip file: {error}; download it again") from error
    except NotImplementedError as error:
        raise ValueError(f"{archive}: {error}; pack it again with the usual deflate compression") from error


def copy(source: Path, folder: Path) -> int:
    """Copies `source` as the new `folder`; links out of `source`, and to folders, are refused."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; expected one that holds train.csv and the images")
    root = source.resolve()
    if folder.resolve().is_relative_to(root):
        raise ValueError(
            f"{folder} lies inside {source}; move the competition's files to a folder of their own"
        )
    files = {}
    for here, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - JUNK)
        for name in [*folders, *sorted(set(names) - JUNK)]:
            path = Path(here, name)
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
                raise ValueError(f"{path} is a link to {os.readlink(path)}; put the real files there")
        for name in sorted(set(names) - JUNK):
            path = Path(here, name)
            if not path.is_file():
                raise ValueError(f"{path} is not a regular file; remove it")
            files[path.relative_to(source).as_posix()] = path
    files = _unwrapped(files)
    sizes = [path.stat().st_size for path in files.values()]
    _build(folder, sizes, lambda partial, bar: _copy_files(files, partial, bar))
    return len(files)


def _checked(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The files to unpack, by their place in the folder; raises ValueError at the first that is not safe."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        name = member.orig_filename
        if JUNK & set(name.split("/")) or name.startswith("._") or "/._" in name:
            continue
        problem = _problem(member)
        if problem:
            raise ValueError(f"{archive}: member {name!r} {problem}")
        if member.is_dir():
            continue
        place = PurePosixPath(name).as_posix()
        if place in members:
            raise ValueError(f"{archive}: member {name!r} comes twice")
        members[place] = member
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"{archive}: more than {MAX_MEMBERS} files")
    if not members:
        raise ValueError(f"{archive}: holds no files")
    for place in members:
        inner = next((str(p) for p in PurePosixPath(place).parents if str(p) in members), None)
        if inner:
            raise ValueError(f"{archive}: member {inner!r} is both a file and a folder")
    total = sum(member.file_size for member in members.values())
    if total > MAX_TOTAL_BYTES:
        raise ValueError(f"{archive}: unpacks to {total} bytes, at most {MAX_TOTAL_BYTES} are unpacked")
    return _unwrapped(members)


def _problem(member: zipfile.ZipInfo) -> str:
    """Why this member must not be unpacked, or ''."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    if not name.strip("/") or any(ord(c) < 32 for c in name):
        return "has no proper name"
    if "\\" in name:
        return "holds a backslash; expected / between folders"
    if name.startswith("/") or re.match(r"[A-Za-z]:", name):
        return "has an absolute path"
    if ".." in name.split("/"):
        return "leaves the folder through '..'"
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device; only files and folders are unpacked"
    if member.flag_bits & 1:
        return "is encrypted; unpack the archive by hand and run: make import DIR=<folder> COMP=<name>"
    if member.file_size > MAX_MEMBER_BYTES:
        return f"unpacks to {member.file_size} bytes, at most {MAX_MEMBER_BYTES} are unpacked"
    return ""


def _unwrapped(files: dict[str, T]) -> dict[str, T]:
    """Without the one top folder that holds everything, tables included."""
    tops = {place.partition("/")[0] for place in files}
    tables = [place for place in files if place.lower().endswith(".csv")]
    if len(tops) > 1 or not any(place.count("/") == 1 for place in tables):
        return files
    return {place.partition("/")[2]: file for place, file in files.items()}


def _build(folder: Path, sizes: list[int], fill: Callable[[Path, tqdm], None]) -> None:
    """Fills a folder beside `folder`, then renames it."""
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} exists already and is not empty; remove it or choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if sum(sizes) > free:
        raise ValueError(f"{folder}: needs {sum(sizes)} bytes of disk space, {free} are free")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        with progress(len(sizes), f"filling {folder}", "files") as bar:
            fill(partial, bar)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _folders(places: Iterable[str], partial: Path) -> None:
    for parent in {PurePosixPath(place).parent for place in places}:
        (partial / parent).mkdir(parents=True, exist_ok=True)


def _extract(
    opened: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], partial: Path, limit: int, bar: tqdm
) -> None:
    """Counts the bytes that really come out: what the archive says of itself may be a lie."""
    _folders(members, partial)
    for place, member in members.items():
        size = 0
        with opened.open(member) as source, (partial / place).open("wb") as target:
            while block := source.read(CHUNK):
                size += len(block)
                limit -= len(block)
                if size > member.file_size or limit < 0:
                    raise ValueError(
                        f"{opened.filename}: member {member.filename!r} unpacks to an absurd size"
                    )
                target.write(block)
        bar.update()


def _copy_files(files: dict[str, Path], partial: Path, bar: tqdm) -> None:
    _folders(files, partial)
    for place, path in files.items():
        shutil.copyfile(path, partial / place)
        bar.update()
