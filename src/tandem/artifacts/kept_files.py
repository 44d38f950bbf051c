"""Files kept by digest in `history/COMP/kept`: hard links to what the stages wrote, so that nothing is stored twice."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from tandem.artifacts.atomic_io import file_digest, write_with
from tandem.artifacts.paths import Paths


def keep_file(paths: Paths, file: Path) -> str:
    """The name of the kept file: the digest of its content, and its suffix."""
    name = f"{file_digest(file)}{file.suffix}"
    kept = paths.kept(name)
    if not kept.exists():
        write_with(kept, lambda partial: _link(file, partial))
    return name


def _link(file: Path, new: Path) -> None:
    try:
        os.link(file, new)  # the stages replace their files and never write into one
    except OSError:  # another disk, or a file system without links
        shutil.copyfile(file, new)


def kept_files(paths: Paths) -> list[Path]:
    folder = paths.kept("_").parent
    return sorted(file for file in folder.glob("*") if file.is_file())


def freed_bytes(files: Sequence[Path]) -> int:
    """What removing them frees: a file that has another link stays on the disk."""
    return sum(stat.st_size for stat in (file.stat() for file in files) if stat.st_nlink == 1)
