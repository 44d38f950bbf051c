"""Files of a run on machines that do not share its folder: sent in parcels, each fetched once by a node; results come
back as bytes and are written whole."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PARCEL = 64 * 2**20  # bytes of one object that is sent

Files = Mapping[str, np.ndarray]  # (n,) uint8 by name relative to the folder


@dataclass(frozen=True)
class Parcel:
    """Files that are sent together.

    key     digest of their names and contents
    names   relative to the folder
    ends    where each file ends in the bytes of all
    pieces  references to those bytes, in order
    """

    key: str
    names: tuple[str, ...]
    ends: tuple[int, ...]
    pieces: tuple[Any, ...]


class Sender:
    """Packs files; what has been sent once is not sent again while its size and time stamp stay the same."""

    def __init__(self, put: Callable[[np.ndarray], Any]) -> None:
        """`put` stores bytes where nodes can fetch them, and returns a reference."""
        self.put = put
        self.digests: dict[str, tuple[tuple[int, int], str]] = {}
        self.sent: dict[str, Parcel] = {}

    def parcels(self, names: Iterable[str]) -> list[Parcel]:
        """Those of all these files; large files are alone in theirs. Raises ValueError of one outside the folder."""
        return [self._parcel(group) for group in _groups(dict.fromkeys(names))]

    def _parcel(self, names: Sequence[str]) -> Parcel:
        key = hashlib.sha256("\n".join(f"{name} {self._digest(name)}" for name in names).encode()).hexdigest()
        if key not in self.sent:
            ends = np.cumsum([os.path.getsize(name) for name in names]).tolist()
            self.sent[key] = Parcel(key, tuple(names), tuple(ends), tuple(map(self.put, _pieces(names))))
        return self.sent[key]

    def _digest(self, name: str) -> str:
        state = os.stat(name)
        stamp = state.st_size, state.st_mtime_ns
        if self.digests.get(name, (None,))[0] != stamp:
            with open(name, "rb") as file:
                self.digests[name] = stamp, hashlib.file_digest(file, "sha256").hexdigest()
        return self.digests[name][1]


def _groups(names: Iterable[str]) -> Iterator[list[str]]:
    group, size = list[str](), 0
    for name in names:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise ValueError(f"{name}: lies outside the folder of the run, so no node can read it; copy it here")
        bytes_ = os.path.getsize(name)
        if group and size + bytes_ > PARCEL:
            yield group
            group, size = [], 0
        group.append(name)
        size += bytes_
    if group:
        yield group


def _pieces(names: Sequence[str]) -> Iterator[np.ndarray]:
    """The bytes of the files after one another, in pieces of at most PARCEL."""
    if len(names) == 1:
        whole = np.memmap(names[0], np.uint8, "r") if os.path.getsize(names[0]) else np.empty(0, np.uint8)
    else:
        whole = np.concatenate([np.fromfile(name, np.uint8) for name in names])
    for start in range(0, len(whole), PARCEL):
        yield np.asarray(whole[start : start + PARCEL])


def unpack(parcel: Parcel, get: Callable[[Any], np.ndarray], folder: Path) -> None:
    """Writes the files of a parcel below `folder`, unless this node has them already."""
    done = folder / ".parcels" / parcel.key
    if done.exists():
        return
    pieces, left = iter(parcel.pieces), np.empty(0, np.uint8)
    for name, size in zip(parcel.names, np.diff([0, *parcel.ends]).tolist(), strict=True):
        with _whole(folder / name) as file:
            while size:
                left = left if len(left) else get(next(pieces))
                file.write(left[:size].data)
                size, left = size - len(left[:size]), left[size:]
    done.parent.mkdir(parents=True, exist_ok=True)
    done.touch()


def collect(names: Iterable[str], folder: Path) -> dict[str, np.ndarray]:
    """The bytes of those of these files that exist."""
    return {name: np.fromfile(folder / name, np.uint8) for name in names if (folder / name).exists()}


def write_files(files: Files) -> None:
    """In order, each as a whole: the last one is the record that says that the others are there."""
    for name, content in files.items():
        with _whole(Path(name)) as file:
            file.write(content.data)


class _whole:
    """A file that appears under its name when it is written to its end."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Any:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.NamedTemporaryFile(  # noqa: SIM115
            dir=self.path.parent, prefix=f".{self.path.name}.", suffix=".partial", delete=False
        )
        return self.file

    def __exit__(self, kind: object, error: object, at: object) -> None:
        self.file.close()
        if kind is None:
            os.chmod(self.file.name, 0o644)
            os.replace(self.file.name, self.path)
        else:
            os.unlink(self.file.name)
