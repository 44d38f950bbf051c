"""Where zips of bundles are unpacked, once each: ~/.cache/tandem. What was not opened for long is removed."""

import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from tandem.artifacts.atomic_io import file_digest
from tandem.data.archive import unpack_zip
from tandem.inference.bundle_seal import check_zip

DAY = 86400.0
KEPT_DAYS, KEPT_GB = 30, 5.0  # since a bundle was last opened; of all bundles together
FRESH_DAYS = 1  # one that was opened since stays, as a process may still read it


def unpacked(path: Path, whole: Callable[[Path], object]) -> Path:
    """The folder of a zip, for which `whole` raises no ValueError. One process at a time unpacks and cleans; where
    files were changed or lost since, it is unpacked again."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem"
    cache.mkdir(parents=True, exist_ok=True)
    root = cache / file_digest(path)
    with FileLock(cache / ".lock"):
        if root.exists():
            with suppress(ValueError):
                whole(root)
                os.utime(root)  # when it was last opened
                return root
            shutil.rmtree(root)
        _clean(cache)
        unpack_zip(path, root)
        try:
            check_zip(path)
            whole(root)
        except ValueError as error:
            shutil.rmtree(root)
            raise ValueError(f"{path}: {str(error).replace(f'{root}{os.sep}', '')}") from error
    return root


def _clean(cache: Path) -> None:
    """Removes what killed processes left, bundles that were not opened for KEPT_DAYS, and the oldest above KEPT_GB."""
    now, size, opened = time.time(), 0.0, dict[Path, float]()
    for folder in cache.iterdir():
        if folder.name.startswith(".") or "." in folder.name:  # half unpacked; the lock is held, so by none that lives
            if folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
        elif folder.is_dir():
            with suppress(OSError):
                opened[folder] = folder.stat().st_mtime
    for folder in sorted(opened, key=opened.__getitem__, reverse=True):
        days, size = (now - opened[folder]) / DAY, size + _gb(folder)
        if days > KEPT_DAYS or (size > KEPT_GB and days > FRESH_DAYS):
            shutil.rmtree(folder, ignore_errors=True)


def _gb(folder: Path) -> float:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / 1e9
