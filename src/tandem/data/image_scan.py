"""Scan of image files: size, digest and perceptual hash of each, or its problem; cached between runs."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, write_with
from tandem.data import image_io
from tandem.data.hash_store import HashStore
from tandem.data.image_loader import prefetch
from tandem.data.thumbnails import HASH_BYTES, Hash, perceptual_hash
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads

FLUSH = 4000  # images of a part of the cache; a killed run loses at most these
SCAN_VERSION = 2  # raise it when `inspect_image` gives other results
VERSION = digest([SCAN_VERSION, image_io.MAX_PIXELS, image_io.MAX_BYTES, image_io.FORMATS])


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Properties of one image file; where it cannot be used, `problem` gives the reason and the rest is empty."""

    width: int = 0
    height: int = 0
    size: int = 0  # bytes
    sha: str = ""
    hash: Hash = bytes(HASH_BYTES)
    problem: str = ""


Stamp = tuple[int, int]  # size and mtime_ns: a file with an unchanged stamp is not opened again
Cache = dict[str, tuple[Stamp, ImageInfo]]
CACHE_SCHEMA = pa.schema(
    {"file": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64(), "width": pa.int32(), "height": pa.int32()}
    | {"bytes_read": pa.int64(), "sha": pa.string(), "hash": pa.binary(HASH_BYTES), "problem": pa.string()},
    metadata={"version": VERSION},
)


def inspect_image(path: Path) -> ImageInfo:
    """Reads and decodes one file completely; an unusable image is not an error but a `problem`."""
    data = b""
    try:
        data = image_io.read(path)
        image = image_io.decode(data)
        sha = hashlib.sha256(data).hexdigest()[:16]
        return ImageInfo(image.width, image.height, len(data), sha, perceptual_hash(image))
    except image_io.BadImage as error:
        return ImageInfo(size=len(data), problem=str(error))


def file_stamp(path: str | Path) -> Stamp | None:
    """None where the file does not exist."""
    with suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    return None


def parts_of(path: Path) -> list[Path]:
    """The files that a scan which was stopped has left beside the cache, in the order of their writing."""
    return sorted(path.parent.glob(f"{path.stem}.part[0-9]*{path.suffix}"))


def read_cache(path: Path) -> Cache:
    """With its parts; those that are missing, damaged or of another version count as empty."""
    found: Cache = {}
    store = HashStore()
    for file in (path, *parts_of(path)):
        with suppress(OSError, pa.ArrowInvalid):
            found |= _read(file, store)
    return found


def _read(file: Path, store: HashStore) -> Cache:
    found: Cache = {}
    with pq.ParquetFile(file, pre_buffer=False) as opened:
        if (opened.schema_arrow.metadata or {}).get(b"version") != VERSION.encode():
            return {}
        for batch in opened.iter_batches(FLUSH):
            hashes = batch.column("hash")
            start = hashes.offset * HASH_BYTES
            kept = store.keep(memoryview(hashes.buffers()[1])[start : start + len(hashes) * HASH_BYTES])
            columns = [kept if name == "hash" else batch.column(name).to_pylist() for name in CACHE_SCHEMA.names]
            for name, size, mtime_ns, *rest in zip(*columns, strict=True):
                found[name] = (size, mtime_ns), ImageInfo(*rest)
    return found


def write_cache(path: Path, cache: Cache) -> None:
    """Row group by row group."""

    def write(partial: Path) -> None:
        with pq.ParquetWriter(partial, CACHE_SCHEMA) as writer:
            rows = list(cache.items())
            for start in range(0, len(rows), FLUSH):
                writer.write_table(_as_table(rows[start : start + FLUSH]))

    write_with(path, write)


def _as_table(rows: Sequence[tuple[str, tuple[Stamp, ImageInfo]]]) -> pa.Table:
    cells = ((file, *stamp, i.width, i.height, i.size, i.sha, bytes(i.hash), i.problem) for file, (stamp, i) in rows)
    return pa.table([list(column) for column in zip(*cells, strict=True)], CACHE_SCHEMA)


def scan_images(folder: Path, files: Sequence[str], cache_path: Path) -> tuple[dict[str, ImageInfo], int]:
    """(infos, n_opened): an ImageInfo for each of `files` in `folder`, and how many files were opened.

    A part of the cache is written every FLUSH images, and also where the scan is stopped, so that the next one
    continues there; at the end the parts become one file.
    """
    cache, parts = read_cache(cache_path), _Parts(cache_path)
    stamps = {file: file_stamp(os.path.join(folder, file)) for file in files}
    infos = {file: cache[file][1] for file, stamp in stamps.items() if file in cache and cache[file][0] == stamp}
    pending = [file for file in stamps if file not in infos]
    inspected = prefetch(inspect_image, (folder / file for file in pending), threads(), depth=256)
    new: dict[str, ImageInfo] = {}
    try:
        with progress(len(stamps), "images", "img", done=len(infos)) as bar:
            for file, info in zip(pending, inspected, strict=True):
                new[file] = info
                bar.update()
                if len(new) == FLUSH:
                    infos |= parts.add(new, stamps)
                    new = {}
    finally:
        infos |= parts.add(new, stamps)
    if parts.files:
        cache |= {file: (stamp, infos[file]) for file in pending if (stamp := stamps[file])}
        write_cache(cache_path, {file: cache[file] for file in stamps if file in cache})
        parts.remove()
    return infos, sum(stamps[file] is not None for file in pending)


class _Parts:
    """The parts of the cache, those of an earlier scan too, that was stopped."""

    def __init__(self, path: Path) -> None:
        self.path, self.files, self.store = path, parts_of(path), HashStore()

    def add(self, found: Mapping[str, ImageInfo], stamps: Mapping[str, Stamp | None]) -> dict[str, ImageInfo]:
        """The same with the hashes in a file; writes a part of those that exist."""
        hashes = self.store.keep([info.hash for info in found.values()])
        infos = {file: replace(info, hash=hash) for (file, info), hash in zip(found.items(), hashes, strict=True)}
        if new := {file: (stamp, info) for file, info in infos.items() if (stamp := stamps[file])}:
            number = 1 + max((int(file.stem.rpartition("part")[2]) for file in self.files), default=0)
            self.files.append(self.path.with_name(f"{self.path.stem}.part{number:06d}{self.path.suffix}"))
            write_cache(self.files[-1], new)
        return infos

    def remove(self) -> None:
        for file in self.files:
            file.unlink()


def folder_state(folder: Path) -> str:
    """16 hex digits that change when a file below `folder` is added, removed, renamed or rewritten.

    Hashes the name, size and modification time of each file; no file is opened. A link to a file counts with the
    size and time of its target, a link to a folder only with its name and target. No folder counts as an empty one.
    """
    files: list[tuple[str, int | str, int]] = []
    for here, folders, names in os.walk(folder):
        prefix = here[len(os.fspath(folder)) + 1 :].replace(os.sep, "/")
        prefix += "/" * bool(prefix)
        links = [name for name in folders if os.path.islink(os.path.join(here, name))]
        files += [(prefix + name, os.readlink(os.path.join(here, name)), 0) for name in links]
        for name in names:
            with suppress(OSError):  # a link without a target or to itself, or deleted meanwhile: a missing image
                status = os.stat(os.path.join(here, name))
                files.append((prefix + name, status.st_size, status.st_mtime_ns))
    text = "\0".join(f"{name}\0{size}\0{mtime_ns}" for name, size, mtime_ns in sorted(files))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
