"""Unpacks untrusted zip files and copies folders; nothing is written outside, and no folder appears half-filled."""

import filecmp
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import TypeVar

from tandem.runtime.progress import progress

T = TypeVar("T")
CHUNK = 2**20
SETTINGS = "competition.toml"  # one that is there already is the user's
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = 50 * 2**30
MAX_TOTAL_BYTES = 200 * 2**30
MAX_RATIO = 200  # unpacked bytes for each byte of the archive, in addition to FREE_BYTES
FREE_BYTES = 64 * 2**20  # any archive may unpack to this size
JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".ipynb_checkpoints"}


def unpack_zip(archive: Path, folder: Path) -> int:
    """Unpacks into `folder`, without a top folder around all files; returns the number of files.

    Files that are there already and the same are kept; one that differs is a ValueError, and nothing is changed.

    Raises FileNotFoundError, or ValueError where the file is damaged, unsafe or too large.
    """
    if archive.is_dir():
        raise ValueError(f"{archive} is a folder; run: make import DIR={archive} COMP={folder.name}")
    if not archive.exists():
        raise FileNotFoundError(f"{archive} does not exist; expected a zip file")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _checked(archive, opened)
            limit = FREE_BYTES + MAX_RATIO * archive.stat().st_size

            def write(target: str, path: Path) -> None:
                nonlocal limit
                limit -= _extract(opened, members[target], path, limit)

            _build(folder, {target: member.file_size for target, member in members.items()}, write)
            return len(members)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{archive}: damaged, or not a zip file: {error}; download it again") from error
    except NotImplementedError as error:
        raise ValueError(f"{archive}: {error}; pack it again with deflate compression") from error


def copy_folder(source: Path, folder: Path) -> int:
    """Copies to `folder` as `unpack_zip` does; raises ValueError for links to folders or outside."""
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; expected one with train.csv and the images")
    root = source.resolve()
    if folder.resolve().is_relative_to(root):
        raise ValueError(f"{folder} lies inside {source}; move the competition's files to a separate folder")
    files: dict[str, Path] = {}
    for here, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - JUNK)
        for name in [*folders, *sorted(set(names) - JUNK)]:
            path = Path(here, name)
            if path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(root)):
                raise ValueError(f"{path} is a link to {os.readlink(path)}; put the real files there")
            if path.is_file():
                files[path.relative_to(source).as_posix()] = path
            elif not path.is_dir():
                raise ValueError(f"{path} is not a regular file; remove it")
    files = _without_top_folder(files)
    sizes = {target: path.stat().st_size for target, path in files.items()}
    _build(folder, sizes, lambda target, path: shutil.copyfile(files[target], path))
    return len(files)


def _checked(archive: Path, opened: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """{path in the folder: file to unpack}; raises ValueError at the first unsafe one."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in opened.infolist():
        name = member.orig_filename
        if JUNK & set(name.split("/")) or name.startswith("._") or "/._" in name:
            continue
        if problem := _problem(member):
            raise ValueError(f"{archive}: member {name!r} {problem}")
        if member.is_dir():
            continue
        target = PurePosixPath(name).as_posix()
        if target in members:
            raise ValueError(f"{archive}: member {name!r} occurs twice")
        members[target] = member
        if len(members) > MAX_MEMBERS:
            raise ValueError(f"{archive}: more than {MAX_MEMBERS} files")
    if not members:
        raise ValueError(f"{archive}: contains no files")
    for target in members:
        if parent := next((str(p) for p in PurePosixPath(target).parents if str(p) in members), None):
            raise ValueError(f"{archive}: member {parent!r} is both a file and a folder")
    total = sum(member.file_size for member in members.values())
    if total > MAX_TOTAL_BYTES:
        raise ValueError(f"{archive}: unpacks to {total} bytes; the limit is {MAX_TOTAL_BYTES}")
    return _without_top_folder(members)


def _problem(member: zipfile.ZipInfo) -> str:
    """The reason not to unpack this member, or ''."""
    name, kind = member.orig_filename, stat.S_IFMT(member.external_attr >> 16)
    by_hand = "unpack the archive by hand and run: make import DIR=<folder> COMP=<name>"
    problems = {
        "has an invalid name": not name.strip("/") or any(ord(c) < 32 for c in name),
        "contains a backslash; expected / between folders": "\\" in name,
        "has an absolute path": name.startswith("/") or re.match(r"[A-Za-z]:", name),
        "leaves the folder with '..'": ".." in name.split("/"),
        "is a link or a device; only files and folders are unpacked": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        f"is encrypted; {by_hand}": member.flag_bits & 1,
        f"unpacks to {member.file_size} bytes; the limit is {MAX_MEMBER_BYTES}": member.file_size > MAX_MEMBER_BYTES,
    }
    return next((problem for problem, found in problems.items() if found), "")


def _without_top_folder(files: dict[str, T]) -> dict[str, T]:
    """The files without their common top folder, where it directly contains a CSV file."""
    tops = {target.partition("/")[0] for target in files}
    if len(tops) > 1 or not any(target.count("/") == 1 and target.lower().endswith(".csv") for target in files):
        return files
    return {target.partition("/")[2]: file for target, file in files.items()}


def _build(folder: Path, sizes: dict[str, int], write: Callable[[str, Path], object]) -> None:
    """Calls `write(target, path)` for each {target: bytes} in a temporary folder beside `folder`, then renames it."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    total, free = sum(sizes.values()), shutil.disk_usage(folder.parent).free
    if total > free:
        raise ValueError(f"{folder}: needs {total} bytes of disk space, {free} are free")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for parent in {PurePosixPath(target).parent for target in sizes}:
            (partial / parent).mkdir(parents=True, exist_ok=True)
        with progress(len(sizes), f"writing {folder}", "files") as bar:
            for target in sizes:
                write(target, partial / target)
                bar.update()
        if folder.exists() and any(folder.iterdir()):
            _merge(partial, folder, list(sizes))
        else:
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _merge(new: Path, folder: Path, targets: Sequence[str]) -> None:
    """Moves the files that `folder` lacks there; its own settings stay. Raises ValueError where a file differs."""
    targets = [target for target in targets if target != SETTINGS]
    there = [target for target in targets if (folder / target).exists()]
    if not there:
        raise ValueError(f"{folder} holds other files; remove it, or choose another COMP")
    if different := [target for target in there if not _same(new / target, folder / target)]:
        first, more = different[0], f" and {len(different) - 1:,} more" if len(different) > 1 else ""
        raise ValueError(
            f"{folder / first}{more} differ{'' if more else 's'} from what is imported; to keep the files that are "
            f"there, run make import COMP={folder.name} alone; for another competition choose another COMP, or remove "
            f"{folder}"
        )
    for target in set(targets) - set(there):
        (folder / target).parent.mkdir(parents=True, exist_ok=True)
        os.replace(new / target, folder / target)


def _same(one: Path, other: Path) -> bool:
    return filecmp.cmp(one, other, shallow=False)


def _extract(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, limit: int) -> int:
    """The number of bytes written, counted on the way, because the sizes in the archive may be wrong."""
    size = 0
    with opened.open(member) as source, path.open("wb") as file:
        while block := source.read(CHUNK):
            size += len(block)
            if size > min(member.file_size, limit):
                raise ValueError(f"{opened.filename}: member {member.filename!r} unpacks to more bytes than allowed")
            file.write(block)
    return size
