"""What a model may look at, for some rows of one split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Inputs:
    """Rows in one order; a part that an experiment doesn't read is None.

    blocks    one (n, views, d) float16 array an encoder
    maps      arrays of a trunk or of tokens, (all, views, ...) float16: too large to copy, so they stay on disk
    rows      (n,) numbers of the rows in `maps`
    captions  (n,) str
    files     (n,) paths of images
    """

    size: int
    blocks: tuple[np.ndarray, ...] = ()
    captions: Sequence[str] | None = None
    files: Sequence[Path] | None = None
    maps: tuple[np.ndarray, ...] = ()
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


def side_by_side(
    blocks: Sequence[np.ndarray], view: int | np.ndarray, rows: np.ndarray | slice
) -> np.ndarray:
    """(n, d): what all encoders say of one view, or of one a row; one with fewer views repeats its last."""
    picked = [block[rows, np.minimum(view, block.shape[1] - 1)] for block in blocks]
    return np.concatenate(picked, axis=1).astype(np.float32)
