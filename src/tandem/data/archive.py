"""Unpacks untrusted archives and copies folders; nothing is written outside, and no folder appears half-filled."""

import filecmp
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TypeVar

from tandem.data.archive_formats import (
    BY_HAND,
    DAMAGED,
    OTHER_KINDS,
    TAR_SUFFIXES,
    UNPACK,
    Member,
    archive_stem,
    open_archive,
)
from tandem.runtime.disk import writing
from tandem.runtime.progress import progress

T = TypeVar("T")
CHUNK = 2**20
LEVELS = 2  # archives inside an archive, and inside these, are unpacked; deeper ones stay as they are
SETTINGS = "competition.toml"  # one that is there already is the user's
MAX_MEMBERS = 5_000_000
MAX_MEMBER_BYTES = 50 * 2**30
MAX_TOTAL_BYTES = 200 * 2**30
FREE_MEMBERS, MEMBER_BYTES = 100_000, 32  # any archive may have so many, a large one one for so many of its bytes
MAX_RATIO = 200  # unpacked bytes for each byte of the archive, in addition to FREE_BYTES
FREE_BYTES = 64 * 2**20  # any archive may unpack to this size
JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".git", ".ipynb_checkpoints"}
TOP_TABLES = (".csv", ".tsv", ".psv", ".jsonl", ".ndjson")
TABLES = (*TOP_TABLES, ".txt", ".json")


@dataclass
class Budget:
    """What may still be unpacked of `source` and of the archives inside it, all levels together."""

    source: str
    bytes: int  # by the size of the source
    total: int
    files: int  # with folders and what is not unpacked

    @classmethod
    def of(cls, source: str, size: int) -> "Budget":
        files = min(MAX_MEMBERS, FREE_MEMBERS + size // MEMBER_BYTES)
        return cls(source, FREE_BYTES + MAX_RATIO * size, MAX_TOTAL_BYTES, files)


def unpack_archive(archive: Path, folder: Path) -> int:
    """Unpacks a zip or tar file (tar.gz, tar.bz2, tar.xz) into the new `folder`, without a top folder around all files.

    An archive inside becomes a folder beside it of its name, or its one file where the names are the same
    (train.csv.zip). Returns the number of files. Raises FileNotFoundError, or ValueError where an archive is damaged,
    unsafe, too large or of another kind.
    """
    return _unpack(archive, folder, LEVELS)


def unpack_zip(archive: Path, folder: Path) -> int:
    """As `unpack_archive`, and archives inside stay as they are."""
    return _unpack(archive, folder, 0)


def _unpack(archive: Path, folder: Path, levels: int) -> int:
    if archive.is_dir():
        raise ValueError(f"{archive} is a folder; run: make import DIR={archive} COMP={folder.name}")
    if not archive.exists():
        raise FileNotFoundError(f"{archive} does not exist; expected a zip file")
    budget = Budget.of(str(archive), archive.stat().st_size)
    with open_archive(archive, str(archive)) as opened:
        members = _without_top_folder(_checked(str(archive), opened, budget))

        def write(target: str, path: Path) -> None:
            _extract(str(archive), members[target], path, budget)

        sizes = {target: member.size for target, member in members.items()}
        with writing(folder, sum(sizes.values())):
            return _build(folder, sizes, write, budget, levels)


def copy_folder(source: Path, folder: Path) -> int:
    """Copies to `folder` as `unpack_archive` does; returns the number of files.

    Raises ValueError for links to folders or outside, and for archives that are damaged, unsafe or too large.
    """
    if not source.is_dir():
        raise FileNotFoundError(f"{source} is not a folder; expected one with train.csv and the images")
    root = Path(os.path.realpath(source))
    if Path(os.path.realpath(folder)).is_relative_to(root):
        raise ValueError(f"{folder} lies inside {source}; move the competition's files to a separate folder")
    files: dict[str, Path] = {}
    for here, folders, names in os.walk(source):
        folders[:] = sorted(set(folders) - JUNK)
        for name in [*folders, *sorted(set(names) - JUNK)]:
            path = Path(here, name)
            if path.is_symlink() and (path.is_dir() or not Path(os.path.realpath(path)).is_relative_to(root)):
                raise ValueError(f"{path} is a link to {os.readlink(path)}; put the real files there")
            if path.is_file():
                files[path.relative_to(source).as_posix()] = path
            elif not path.is_dir():
                raise ValueError(f"{path} is not a regular file; remove it")
    files = _without_top_folder(files)
    sizes = {target: path.stat().st_size for target, path in files.items()}
    budget = Budget.of(str(source), sum(size for target, size in sizes.items() if archive_stem(target)))
    with writing(folder, sum(sizes.values())):
        return _build(folder, sizes, lambda target, path: shutil.copyfile(files[target], path), budget)


def _checked(shown: str, opened: Iterable[Member], budget: Budget) -> dict[str, Member]:
    """{path in the folder: file to unpack}; raises ValueError at the first unsafe one."""
    members: dict[str, Member] = {}
    alike: dict[str, str] = {}  # name as case-blind file systems see it: name
    total, most = 0, budget.files
    for member in opened:
        name = member.name
        budget.files -= 1
        if budget.files < 0:
            raise ValueError(f"{budget.source}: more than {most} files and folders; the limit for its size")
        if JUNK & set(name.split("/")) or name.startswith("._") or "/._" in name:
            continue
        if member.problem:
            raise ValueError(f"{shown}: member {name!r} {member.problem}")
        if member.is_folder:
            continue
        if kind := OTHER_KINDS.get(PurePosixPath(name).suffix.lower()):
            raise ValueError(f"{shown}: member {name!r} is {kind}; {BY_HAND}")
        if member.size > MAX_MEMBER_BYTES:
            raise ValueError(
                f"{shown}: member {name!r} unpacks to {member.size} bytes; the limit is {MAX_MEMBER_BYTES}"
            )
        total += max(member.size, 0)
        if total > budget.total:
            raise ValueError(f"{shown}: unpacks to {total} bytes or more; the limit is {budget.total}")
        if total > budget.bytes:
            raise ValueError(f"{shown}: member {name!r} unpacks to more bytes than allowed")
        target = PurePosixPath(name).as_posix()
        if target in members:
            raise ValueError(f"{shown}: member {name!r} occurs twice")
        if (other := alike.setdefault(_folded(target), target)) != target:
            same = "would be one file on Windows and macOS"
            raise ValueError(f"{shown}: members {other!r} and {name!r} {same}; rename one, or {UNPACK}")
        members[target] = member
    if not members:
        raise ValueError(f"{shown}: contains no files")
    for target in members:
        if parent := next((str(p) for p in PurePosixPath(target).parents if _folded(str(p)) in alike), None):
            raise ValueError(f"{shown}: member {parent!r} is both a file and a folder")
    return members


def _folded(name: str) -> str:
    """Equal for names that differ in case, or in how Unicode writes their letters."""
    return name.casefold() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def _without_top_folder(files: dict[str, T], name: str = "") -> dict[str, T]:
    """The files without their common top folder, where it is called `name` or directly contains a table."""
    tops = {target.partition("/")[0] for target in files}
    has_table = any(target.count("/") == 1 and target.lower().endswith(TOP_TABLES) for target in files)
    if len(tops) > 1 or not all("/" in target for target in files) or not (has_table or tops == {name}):
        return files
    return {target.partition("/")[2]: file for target, file in files.items()}


def _build(
    folder: Path, sizes: dict[str, int], write: Callable[[str, Path], object], budget: "Budget", levels: int = LEVELS
) -> int:
    """Calls `write(target, path)` for each {target: bytes} in a temporary folder beside `folder`, unpacks the archives
    in it, then renames it; returns the number of files."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _check_space(folder, sizes.values())
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        _make_parents(partial, sizes)
        with progress(len(sizes), f"writing {folder}", "files") as bar:
            for target in sizes:
                write(target, partial / target)
                bar.update()
        n = len(sizes) + _unpack_inner(partial, sizes, budget, levels)
        if folder.exists() and any(folder.iterdir()):
            _merge(partial, folder)
        else:
            os.replace(partial, folder)
        return n
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _unpack_inner(root: Path, names: Iterable[str], budget: Budget, levels: int) -> int:
    """Unpacks the archives among the files `names` of `root`, and removes them; returns how many files there are more.

    An archive whose files are there already stays as it is.
    """
    more = 0
    for name in sorted(filter(_is_unpacked_inside, names)) if levels else ():
        path, shown = root / name, f"{budget.source}: {name}"
        with open_archive(path, shown) as opened:
            found = _checked(shown, opened, budget)
            members = _places(PurePosixPath(name), found)
            if _hold(root, members) or _hold(path.parent, found):
                continue
            _check_free(root, members, shown)
            _check_space(root, [member.size for member in members.values()])
            _make_parents(root, members)
            for target, member in members.items():
                _extract(shown, member, root / target, budget)
        path.unlink()
        more += len(members) - 1 + _unpack_inner(root, members, budget, levels - 1)
    return more


def _is_unpacked_inside(name: str) -> bool:
    """Whether a file is an archive to unpack, or a compressed table; scan.nii.gz is neither."""
    stem = archive_stem(name.rpartition("/")[2])
    if stem is None:
        return False
    only_compressed = name.lower().endswith((".gz", ".bz2", ".xz")) and not name.lower().endswith(TAR_SUFFIXES)
    return not only_compressed or stem.lower().endswith(TABLES)


def _places(archive: PurePosixPath, found: dict[str, Member]) -> dict[str, Member]:
    """{path below the root: file}: in a folder beside the archive; beside it where its one file has its name."""
    stem = archive_stem(archive.name) or archive.name
    if list(found) == [stem]:
        return {archive.with_name(stem).as_posix(): found[stem]}
    folder = archive.with_name(PurePosixPath(stem).stem if stem.lower().endswith(TABLES) else stem)
    return {(folder / t).as_posix(): member for t, member in _without_top_folder(found, folder.name).items()}


def _hold(folder: Path, members: dict[str, Member]) -> bool:
    """Whether all files are in the folder, with the same content."""
    files = [(folder / target, member) for target, member in members.items()]
    sized = all(path.is_file() and member.size in (-1, path.stat().st_size) for path, member in files)
    return sized and all(_is_same(path, member) for path, member in files)


def _is_same(path: Path, member: Member) -> bool:
    with member.open() as inside, path.open("rb") as file:
        while block := file.read(CHUNK):
            if inside.read(len(block)) != block:
                return False
        return not inside.read(1)


def _check_free(root: Path, members: dict[str, Member], shown: str) -> None:
    """Raises ValueError where a member would replace a file."""
    paths = (path for target in members for path in (PurePosixPath(target), *PurePosixPath(target).parents))
    if clash := next((path for path in paths if (root / path).exists() and not (root / path).is_dir()), None):
        raise ValueError(f"{shown}: would replace {str(clash)!r}, a file with the same name; remove one of the two")
    if folder := next((target for target in members if (root / target).is_dir()), None):
        raise ValueError(f"{shown}: member {folder!r} is a folder already; remove one of the two")


def _make_parents(root: Path, targets: Iterable[str]) -> None:
    for parent in {PurePosixPath(target).parent for target in targets}:
        (root / parent).mkdir(parents=True, exist_ok=True)


def _check_space(folder: Path, sizes: Iterable[int]) -> None:
    total, free = sum(sizes), shutil.disk_usage(folder.parent).free
    if total > free:
        raise ValueError(f"{folder}: needs {total} bytes of disk space, {free} are free")


def _merge(new: Path, folder: Path) -> None:
    """Moves the files that `folder` lacks there; its own settings stay. Raises ValueError where a file differs."""
    found = (path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
    targets = sorted(target for target in found if target != SETTINGS)
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


def _read(source: IO[bytes], member: Member) -> bytes:
    try:
        return source.read(CHUNK)
    except NotImplementedError:  # a compression that is not known
        raise
    except DAMAGED as error:
        raise zipfile.BadZipFile(f"member {member.name!r}: {error!s:.200}") from error


def _extract(shown: str, member: Member, path: Path, budget: Budget) -> None:
    """Writes the file, and counts its bytes on the way, because the sizes in the archive may be wrong."""
    size = 0
    with member.open() as source, path.open("wb") as file:
        while block := _read(source, member):
            size += len(block)
            budget.bytes -= len(block)
            budget.total -= len(block)
            if 0 <= member.size < size or budget.bytes < 0 or budget.total < 0 or size > MAX_MEMBER_BYTES:
                raise ValueError(f"{shown}: member {member.name!r} unpacks to more bytes than allowed")
            file.write(block)
    if size < member.size:
        raise ValueError(f"{shown}: member {member.name!r} is cut off; download the archive again")
