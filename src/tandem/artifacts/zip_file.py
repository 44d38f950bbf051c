"""Writes zip archives."""

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tandem.artifacts.atomic_io import write_with


def write_zip(archive: Path, files: Iterable[tuple[str, Path]]) -> None:
    """A zip of these (name in it, file), not compressed: what the pipeline writes hardly becomes smaller."""

    def write(partial: Path) -> None:
        with zipfile.ZipFile(partial, "w") as opened:
            for name, file in files:
                opened.write(file, name)

    write_with(archive, write)


def files_below(root: Path, folder: str = "") -> Iterator[tuple[str, Path]]:
    """(path relative to `root`, file) of each regular file in this folder of it, in the order of their names."""
    for file in sorted((root / folder).rglob("*")):
        if file.is_file():
            yield file.relative_to(root).as_posix(), file
