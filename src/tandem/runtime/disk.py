"""Room on the disk, asked for before something large is written; and errors of writing, with what to do."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SPARE_GB = 1.0  # which stay free
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EROFS, errno.EACCES, errno.EPERM)
BY_LIBRARIES = re.compile(r"\(os error (\d+)\)|\[[Ee]rrno (\d+)\]")  # in messages of safetensors and pyarrow
NO_CAUSE = re.compile(r"PytorchStreamWriter|\d+ requested and \d+ written")  # what torch and numpy say where they
SMALL = 2**20  # can't write all; with less room than these bytes, that is why


def require_room(folder: Path, size: int, what: str, cure: str) -> None:
    """Raises OSError where the disk of a folder has no room for `size` more bytes.

    what  "10,000 images of 448 px", which need the room
    cure  what to do about it
    """
    gb, free = size / 1e9, _free(folder) / 1e9
    if gb + SPARE_GB > free:
        needed = f"{gb:.1f} GB more on disk ({folder}), and {SPARE_GB:.0f} GB that stays free"
        raise OSError(f"{what}: {needed}, but {free:.1f} GB are free; {cure}")


@contextmanager
def writing(path: Path, size: int = 0) -> Iterator[None]:
    """For a block that writes a file or folder, of `size` bytes where that is known: raises OSError with what to do
    where the disk is full or read-only, or there is no permission, whatever a library raises there."""
    try:
        yield
    except Exception as error:
        if about := about_disk(error, path, size):
            raise OSError(about) from error
        raise


def about_disk(error: BaseException, path: Path | None = None, size: int = 0) -> str:
    """The error in words where it is one of the disk; "" where it is another one.

    >>> about_disk(OSError(errno.EROFS, "Read-only file system", "a/b.json"))
    'a/b.json: the disk is read-only; make it writable, or work in another folder'
    """
    number = _number(error)
    place = path or Path(getattr(error, "filename", None) or ".")
    if number is None and NO_CAUSE.search(str(error)) and _free(place) < SMALL:
        number = errno.ENOSPC
    if number in FULL:
        what = {errno.EDQUOT: "the quota is used up", errno.EFBIG: "the limit of the size of files is reached"}
        room = (f"{_megabytes(size)} needed, " if size else "") + f"{_megabytes(_free(place))} free"
        return (
            f"{place}: {what.get(number, 'the disk is full')} ({room}); make room, such as by make clean-cache "
            "COMP=..., and run the same command again: it continues from here"
        )
    if number == errno.EROFS:
        return f"{place}: the disk is read-only; make it writable, or work in another folder"
    if number in REFUSED and (named := getattr(error, "filename", None) or path):
        return f"{named}: no permission; change it (chmod, chown), or work in another folder"
    return ""


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError) and error.errno:
        return error.errno
    said = BY_LIBRARIES.search(str(error))
    return next((int(digits) for digits in said.groups() if digits), None) if said else None


def _free(folder: Path) -> int:
    with suppress(OSError, StopIteration):
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        return shutil.disk_usage(there).free
    return 0


def _megabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.2f} MB"
