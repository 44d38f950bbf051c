"""Room on the disk, asked for before something large is written."""

import shutil
from pathlib import Path

SPARE_GB = 1.0  # which stay free


def require_room(folder: Path, size: int, what: str, cure: str) -> None:
    """Raises OSError where the disk of a folder has no room for `size` more bytes.

    what  "10,000 images of 448 px", which need the room
    cure  what to do about it
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    gb, free = size / 1e9, shutil.disk_usage(there).free / 1e9
    if gb + SPARE_GB > free:
        raise OSError(f"{what}: {gb:.1f} GB more on disk ({folder}), but {free:.1f} GB are free; {cure}")
