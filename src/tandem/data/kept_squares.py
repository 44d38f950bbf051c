"""Images of one split, decoded once and kept as uint8 squares on disk, so that a GPU does not wait for the decoder."""

import math
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from filelock import FileLock

from tandem.artifacts.atomic_io import digest, read_json, write_json
from tandem.artifacts.paths import Paths
from tandem.artifacts.whole_files import DamagedFile
from tandem.data.image_loader import Resized, image_batches
from tandem.data.split_tables import read_image_rows
from tandem.runtime.disk import require_room, writing
from tandem.runtime.progress import log_line, progress
from tandem.runtime.resources import threads

VERSION = 1  # of how an image is decoded and resized
HEADER = 1024  # bytes of a .npy file before its numbers, at most
CHUNK = 1024  # images between two saved states of a run: some batches for each of many threads


def kept_squares(paths: Paths, split: str, side: int) -> list[np.ndarray]:
    """(side, side, 3) uint8 of each row of the split, in its order: parts of a memory map, written at its first use.

    A killed run continues from its last chunk. Raises OSError where the disk can't hold it.
    """
    rows = read_image_rows(paths.images(split))
    path = paths.pixels(f"{side}.{split}")
    key = digest({"images": rows["sha"], "side": side, "version": VERSION})
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):  # folds in several processes ask for it at the same time
        if not (partial := path.with_suffix(".partial.npy")).exists():
            _state(partial).unlink(missing_ok=True)  # of a run that was killed after the last image
        size = 3 * side**2 * len(rows["file"])
        if not (path.exists() and _saved(path)[0] == key and 0 < path.stat().st_size - size <= HEADER):
            with writing(path, size):
                _write(path, [Resized(paths.input / file, side) for file in rows["file"]], key)
    squares = np.load(path, mmap_mode="r")
    return list(np.asarray(squares))  # views of one map


def _write(path: Path, files: Sequence[Resized], key: str) -> None:
    partial, side = path.with_suffix(".partial.npy"), files[0].side
    saved, done = _saved(partial)
    if saved != key or not partial.exists():
        done = 0
        partial.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    shape = (len(files), side, side, 3)
    _check_room(path, shape, done)
    array = np.load(partial, mmap_mode="r+") if done else np.lib.format.open_memmap(partial, "w+", np.uint8, shape)
    with progress(len(files), f"resizing images to {side} px", "img", done) as bar:
        for start in range(done, len(files), CHUNK):
            row = start
            _reserve(partial, array, start)
            for batch in image_batches(files[start : start + CHUNK], side, 16, threads()):
                array[row : row + len(batch)] = batch
                row += len(batch)
                bar.update(len(batch))
            array.flush()
            write_json(_state(partial), {"key": key, "rows": row})
    del array
    write_json(_state(path), {"key": key, "rows": len(files)})
    partial.rename(path)
    _state(partial).unlink()


def _check_room(path: Path, shape: tuple[int, ...], done: int) -> None:
    """`done` images are written; a file that was begun has its whole length, but takes no more room than these."""
    what, missing = f"{shape[0]:,} images of {shape[1]} px", (shape[0] - done) * math.prod(shape[1:])
    cure = "make room, or set a smaller augment.resized in the config, or 0: images are then decoded in every epoch"
    require_room(path.parent, missing, what, cure)
    log_line(f"{what} take {missing / 1e9:.1f} GB more on disk ({path})")


def _reserve(path: Path, array: np.ndarray, start: int) -> None:
    """Takes the room for the next chunk of a map: one that finds none when it is written ends the process."""
    row, size = array[:1].nbytes, array.nbytes
    with path.open("r+b") as file:
        if hasattr(os, "posix_fallocate"):  # not on a Mac
            header = path.stat().st_size - size
            os.posix_fallocate(file.fileno(), header + start * row, min(CHUNK * row, size - start * row))


def _state(path: Path) -> Path:
    return path.with_suffix(".json")


def _saved(path: Path) -> tuple[str, int]:
    """(key, rows) of what is on disk."""
    with suppress(FileNotFoundError, DamagedFile, KeyError, TypeError):
        saved = read_json(_state(path))
        return saved["key"], saved["rows"]
    return "", 0
