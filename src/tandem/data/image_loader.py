"""Batches of decoded images, made by threads while the model runs."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from tandem.data.image_io import load_rgb

T, R = TypeVar("T"), TypeVar("R")
ENOUGH = 2  # times the pixels that are wanted, before the last and careful step down


def ahead(work: Callable[[T], R], items: Iterable[T], threads: int, depth: int = 4) -> Iterator[R]:
    """`map(work, items)` in order, computed by threads at most `depth` items ahead, so memory stays flat."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= depth:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def squares(path: Path, sizes: Iterable[int]) -> dict[int, np.ndarray]:
    """(size, size, 3) uint8 for every size: the whole image, its proportions given up so that nothing is cut off."""
    sizes = list(sizes)
    image = load_rgb(path, ENOUGH * max(sizes, default=0))
    return {size: np.asarray(image.resize((size, size), Image.Resampling.BICUBIC)) for size in sizes}


def squeeze(image: Path | np.ndarray, size: int) -> np.ndarray:
    """One of `squares`; an array is one already."""
    return squares(image, (size,))[size] if isinstance(image, Path) else image


def image_batches(
    files: Sequence[Path | np.ndarray], size: int, batch: int, threads: int
) -> Iterator[np.ndarray]:
    """(b, size, size, 3) uint8 batches in the order of `files`."""
    chunks = (files[i : i + batch] for i in range(0, len(files), batch))
    return ahead(lambda chunk: np.stack([squeeze(f, size) for f in chunk]), chunks, threads)
