"""What a model may look at, for some rows of one split."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Inputs:
    """Rows in one order; a part that an experiment doesn't read is None.

    blocks    one (n, views, d) float16 array an encoder
    captions  (n,) str
    files     (n,) paths of images
    """

    size: int
    blocks: tuple[np.ndarray, ...] = ()
    captions: Sequence[str] | None = None
    files: Sequence[Path] | None = None

    def __len__(self) -> int:
        return self.size

    def take(self, rows: np.ndarray) -> "Inputs":
        """The rows with these numbers, in this order."""
        return Inputs(
            len(rows),
            tuple(block[rows] for block in self.blocks),
            None if self.captions is None else [self.captions[i] for i in rows],
            None if self.files is None else [self.files[i] for i in rows],
        )
