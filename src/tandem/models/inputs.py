"""What a model may look at, for some rows of one split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Inputs:
    """Rows in one order; a part that an experiment doesn't read is None.

    blocks    one (n, views, d) float16 array an encoder
    maps      what a trunk or a caption model says, (all, views, ...) float16: too large to copy, so it stays on disk
    rows      (n,) numbers of the rows in `maps`
    captions  (n,) str
    files     (n,) paths of images
    """

    size: int
    blocks: tuple[np.ndarray, ...] = ()
    captions: Sequence[str] | None = None
    files: Sequence[Path] | None = None
    maps: tuple["Maps", ...] = ()
    rows: np.ndarray | None = None

    def __len__(self) -> int:
        return self.size

    def take(self, rows: np.ndarray) -> "Inputs":
        """The rows with these numbers, in this order."""
        return Inputs(
            len(rows),
            tuple(block[rows] for block in self.blocks),
            None if self.captions is None else [self.captions[i] for i in rows],
            None if self.files is None else [self.files[i] for i in rows],
            self.maps,
            rows if self.rows is None else self.rows[rows],
        )

    def followed_by(self, other: "Inputs") -> "Inputs":
        """These rows, then those of `other`, which has the same parts."""

        def both(name: str) -> list | None:
            mine = getattr(self, name)
            return None if mine is None else [*mine, *getattr(other, name)]

        maps = tuple(a.followed_by(b) for a, b in zip(self.maps, other.maps, strict=True))
        mine, theirs = (np.arange(len(part)) if part.rows is None else part.rows for part in (self, other))
        return Inputs(
            len(self) + len(other),
            tuple(np.concatenate(pair) for pair in zip(self.blocks, other.blocks, strict=True)),
            both("captions"),
            both("files"),
            maps,
            np.concatenate([mine, theirs + (len(self.maps[0]) if maps else len(self))]),
        )


@dataclass(frozen=True)
class Maps:
    """Arrays on disk, (n, views, ...) each, read as if they were one."""

    parts: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.parts[0].shape[1:])

    def followed_by(self, other: "Maps") -> "Maps":
        return Maps((*self.parts, *other.parts))

    def read(self, rows: np.ndarray, view: int | np.ndarray) -> np.ndarray:
        """(b, ...) of rows (b,), each in the view of its own number, or its last where it has fewer."""
        view = np.minimum(np.broadcast_to(view, rows.shape), self.shape[1] - 1)
        out = np.empty((len(rows), *self.shape[2:]), self.parts[0].dtype)
        start = 0
        for part in self.parts:
            inside = (rows >= start) & (rows < start + len(part))
            out[inside] = part[rows[inside] - start, view[inside]]
            start += len(part)
        return out


def side_by_side(
    blocks: Sequence[np.ndarray], view: int | np.ndarray, rows: np.ndarray | slice
) -> np.ndarray:
    """(n, d): what all encoders say of one view, or of one a row; one with fewer views repeats its last."""
    picked = [block[rows, np.minimum(view, block.shape[1] - 1)] for block in blocks]
    return np.concatenate(picked, axis=1).astype(np.float32)
