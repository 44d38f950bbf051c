"""Features on disk: float16, computed in files of some hundred rows each, so that a killed run continues and several
processes or machines can share the rows; put together at the end."""

import math
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tandem.artifacts.atomic_io import read_json, write_json
from tandem.artifacts.rows_by_id import rows_by_id
from tandem.artifacts.whole_files import DamagedFile, reading
from tandem.runtime.disk import writing
from tandem.runtime.progress import progress

CHUNK = 512  # rows of one file while they are computed; a multiple of every encoder's batch
WHOLE = "whole.partial"  # the features while they are put together
Encode = Callable[[int], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Parts:
    """The features of one split while they are computed: files of CHUNK rows in a folder that their key names.

    path  of the whole features
    rows  of the split
    """

    path: Path
    rows: int
    key: str

    @property
    def folder(self) -> Path:
        return self.path.with_suffix(".partial") / self.key

    def file(self, start: int) -> Path:
        """Of the rows from `start` to the next multiple of CHUNK."""
        return self.folder / f"{start}.npy"

    @property
    def whole(self) -> Path:
        """The features while they are put together."""
        return self.folder / WHOLE

    def missing(self) -> list[int]:
        """The first rows of the files that are still to be computed."""
        taken = self._taken_over()
        return [start for start in range(0, self.rows, CHUNK) if start >= taken and not self.file(start).exists()]

    def forget_others(self) -> None:
        """Removes what was computed of another key."""
        for folder in self.path.with_suffix(".partial").glob("*"):
            if folder != self.folder:
                shutil.rmtree(folder)

    def put_together(self, ids: Sequence[str], made_from: Mapping[str, Any]) -> None:
        """Writes `path`, and beside it its ids and `made_from` with shape, rows and seconds (of one core).

        Raises ValueError where rows are missing. The files of the parts are removed one by one, so that the disk holds
        little twice; a killed run continues after the last one.
        """
        starts = range(0, self.rows, CHUNK)
        if missing := self.missing():
            raise ValueError(f"{self.path}: the rows from {missing[0] + 1} on are not computed; run make features")
        with writing(self.path):
            self._put_together(starts, ids, made_from)

    def _put_together(self, starts: Sequence[int], ids: Sequence[str], made_from: Mapping[str, Any]) -> None:
        seconds = sum(read_json(self.file(start).with_suffix(".json"))["seconds"] for start in starts)
        shape = self._take_over()
        self.path.unlink(missing_ok=True)  # a killed run must not leave old features with the new key
        write_json(self.path.with_suffix(".ids.json"), list(ids))
        record = {**made_from, "shape": list(shape), "rows": self.rows, "seconds": round(seconds, 4)}
        write_json(self.path.with_suffix(".meta.json"), record)
        self.whole.rename(self.path)
        shutil.rmtree(self.path.with_suffix(".partial"))

    def _take_over(self) -> tuple[int, ...]:
        """Moves the rows of all files to `whole`; returns its shape."""
        done = self._taken_over()
        if not done:
            with self.whole.open("wb") as new:
                _write_header(new, (self.rows, *np.load(self.file(0), mmap_mode="r").shape[1:]))
        with self.whole.open("r+b") as file:
            shape, size = _read_header(file)
            file.seek(done * size, os.SEEK_CUR)
            file.truncate()
            for start in range(done, self.rows, CHUNK):
                file.write(np.load(self.file(start), mmap_mode="r").data)
                self.file(start).unlink()
        return shape

    def _taken_over(self) -> int:
        """The rows in `whole`, those of whole files."""
        with suppress(FileNotFoundError, ValueError), self.whole.open("rb") as file:  # ValueError: half a header
            _, size = _read_header(file)
            rows = (self.whole.stat().st_size - file.tell()) // size
            return self.rows if rows >= self.rows else rows - rows % CHUNK
        return 0


def remove_parts_without_rows(folder: Path) -> None:
    """Removes folders of parts in a folder of features that hold no rows: a run was killed after it had put them
    together, or before the first part was written."""
    for parts in folder.glob("*.partial"):
        if not any(file.suffix == ".npy" or file.name == WHOLE for file in parts.rglob("*")):
            shutil.rmtree(parts, ignore_errors=True)


class PartWriter:
    """Writes blocks of rows, in order from `start` on, to the files of `parts`; each file appears whole."""

    def __init__(self, parts: Parts, start: int) -> None:
        self.parts, self.row, self.seconds = parts, start, 0.0
        self._file: BinaryIO | None = None

    def add(self, block: np.ndarray, seconds: float = 0.0) -> None:
        """float32 (b, views, ...), computed in `seconds` of one core; raises ValueError where a value is not finite in
        float16."""
        half = block.astype(np.float16)
        if not np.isfinite(half).all():
            path, first = self.parts.path, self.row + 1
            raise ValueError(f"{path}: features of row {first} or after are not finite in float16")
        self.seconds += seconds
        with writing(self.parts.path, 2 * self.parts.rows * half[:1].size):
            self._write(half)

    def _write(self, half: np.ndarray) -> None:
        while len(half):
            first = self.row - self.row % CHUNK
            stop = min(first + CHUNK, self.parts.rows)
            if self._file is None:
                self.parts.folder.mkdir(parents=True, exist_ok=True)
                self._file = self._partial(first).open("wb")
                _write_header(self._file, (stop - first, *half.shape[1:]))
            here = half[: stop - self.row]
            self._file.write(np.ascontiguousarray(here).data)
            self.row, half = self.row + len(here), half[len(here) :]
            if self.row == stop:
                self.close()
                write_json(self.parts.file(first).with_suffix(".json"), {"seconds": self.seconds})
                self._partial(first).rename(self.parts.file(first))
                self.seconds = 0.0

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _partial(self, first: int) -> Path:
        return self.parts.file(first).with_suffix(f".{os.getpid()}.partial")  # two processes may compute the same


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})


def _read_header(file: BinaryIO) -> tuple[tuple[int, ...], int]:
    """The shape, and the bytes of a row; the file is then at its first row."""
    np.lib.format.read_magic(file)
    shape, _, _ = np.lib.format.read_array_header_1_0(file)
    return shape, 2 * math.prod(shape[1:])


def ranges(starts: Iterable[int], rows: int) -> list[range]:
    """The rows of the files that begin at `starts`, those that follow one another as one range.

    >>> ranges([0, 512, 2048], 2100)
    [range(0, 1024), range(2048, 2100)]
    """
    found: list[range] = []
    for start in sorted(starts):
        stop = min(start + CHUNK, rows)
        if found and found[-1].stop == start:
            found[-1] = range(found[-1].start, stop)
        else:
            found.append(range(start, stop))
    return found


def write_features(path: Path, ids: Sequence[str], encode: Encode, made_from: Mapping[str, Any], unit: str) -> None:
    """Writes (n, views, ...) float16 to `path`, its ids, shape and `made_from` beside it; `encode(start)` yields blocks
    from row `start` on. Raises ValueError where a value is not finite in float16."""
    parts = Parts(path, len(ids), made_from["key"])
    parts.forget_others()
    missing = parts.missing()
    if missing:
        writer, before = PartWriter(parts, missing[0]), time.perf_counter()
        with progress(len(ids), path.name.rsplit(".", 1)[0], unit, missing[0]) as bar:
            for block in encode(missing[0]):
                writer.add(block, time.perf_counter() - before)
                bar.update(len(block))
                before = time.perf_counter()
        writer.close()
        if writer.row != len(ids):
            raise ValueError(f"{path}: the encoder returned {writer.row} rows, expected {len(ids)}")
    parts.put_together(ids, made_from)


def read_features(path: Path, ids: Sequence[str]) -> np.ndarray:
    """(n, views, ...) float16 in the order of `ids`; a memory map where that is the order on disk."""
    with reading(path, "features", "delete it and run make features"):
        values = np.load(path, mmap_mode="r")
    try:
        return rows_by_id(values, read_json(path.with_suffix(".ids.json")), ids, "features")
    except DamagedFile:
        raise
    except (ValueError, IndexError, TypeError) as error:
        raise ValueError(f"{path}: {error}; run make features") from error
