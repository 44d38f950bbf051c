"""Scan of image files: size, digest and perceptual hash of each, or its problem; cached between runs."""

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tandem.artifacts.atomic_io import digest, write_with
from tandem.data import image_io
from tandem.data.image_loader import prefetch
from tandem.data.thumbnails import HASH_BYTES, perceptual_hash
from tandem.runtime.progress import progress
from tandem.runtime.resources import threads

FLUSH = 4000  # images between two writes of the cache; a killed run loses at most these
SCAN_VERSION = 2  # raise it when `inspect_image` gives other results
VERSION = digest([SCAN_VERSION, image_io.MAX_PIXELS, image_io.MAX_BYTES, image_io.FORMATS])


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Properties of one image file; where it cannot be used, `problem` gives the reason and the rest is empty."""

    width: int = 0
    height: int = 0
    size: int = 0  # bytes
    sha: str = ""
    hash: bytes = bytes(HASH_BYTES)
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


def file_stamp(path: Path) -> Stamp | None:
    """None where the file does not exist."""
    with suppress(OSError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None


def read_cache(path: Path) -> Cache:
    """Empty where the file is missing, damaged or of another version."""
    with suppress(OSError, pa.ArrowInvalid):
        table = pq.read_table(path)
        if (table.schema.metadata or {}).get(b"version") == VERSION.encode():
            rows = (row.values() for row in table.to_pylist())
            return {file: ((size, mtime_ns), ImageInfo(*rest)) for file, size, mtime_ns, *rest in rows}
    return {}


def write_cache(path: Path, cache: Cache) -> None:
    rows = ((file, *stamp, *astuple(info)) for file, (stamp, info) in cache.items())
    table = pa.Table.from_pylist([dict(zip(CACHE_SCHEMA.names, row, strict=True)) for row in rows], CACHE_SCHEMA)
    write_with(path, lambda partial: pq.write_table(table, partial))


def scan_images(folder: Path, files: Sequence[str], cache_path: Path) -> tuple[dict[str, ImageInfo], int]:
    """(infos, n_opened): an ImageInfo for each of `files` in `folder`, and how many files were opened.

    The cache is written every FLUSH images, and also where the scan is stopped, so that the next one continues there.
    """
    cache = read_cache(cache_path)
    stamps = {file: file_stamp(folder / file) for file in files}
    infos = {file: cache[file][1] for file, stamp in stamps.items() if file in cache and cache[file][0] == stamp}
    pending = [file for file in stamps if file not in infos]
    if not pending:
        return infos, 0
    inspected = prefetch(inspect_image, (folder / file for file in pending), threads(), depth=256)
    try:
        with progress(len(stamps), "images", "img", done=len(infos)) as bar:
            for n, (file, info) in enumerate(zip(pending, inspected, strict=True), start=1):
                infos[file] = info
                bar.update()
                if stamp := stamps[file]:
                    cache[file] = stamp, info
                if n % FLUSH == 0:
                    write_cache(cache_path, cache)
        cache = {file: cache[file] for file in stamps if file in cache}
    finally:
        write_cache(cache_path, cache)
    return infos, sum(stamps[file] is not None for file in pending)


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
            with suppress(FileNotFoundError):  # a link without a target, or deleted meanwhile: a missing image
                status = os.stat(os.path.join(here, name))
                files.append((prefix + name, status.st_size, status.st_mtime_ns))
    text = "\0".join(f"{name}\0{size}\0{mtime_ns}" for name, size, mtime_ns in sorted(files))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
