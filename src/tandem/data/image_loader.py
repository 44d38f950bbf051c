"""Batches of decoded images, loaded by threads while the model runs."""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import PIL.Image
from PIL.Image import Resampling

from tandem.config.encoders import Crop, ImageSize
from tandem.data.image_io import load_rgb, to_rgb

T = TypeVar("T")
R = TypeVar("R")


class Resized(NamedTuple):
    """An image file that is resized to a square of `side` pixels before anything else."""

    path: Path
    side: int


Image = Path | Resized | np.ndarray  # a file, or (size, size, 3) uint8
Box = tuple[float, float, float, float]  # left, upper, right, lower in pixels
OVERSIZE = 2.0  # an image of at least twice this multiple of the wanted size is first averaged over blocks of pixels


def prefetch(work: Callable[[T], R], items: Iterable[T], threads: int, depth: int = 0) -> Iterator[R]:
    """`map(work, items)` in order, computed by threads at most `depth` items ahead, so memory does not grow; by default
    3 more than there are threads, so that none of them waits."""
    depth = depth or threads + 3
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[R]] = deque()
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


def decoded(source: Image | PIL.Image.Image) -> PIL.Image.Image:
    """The whole image in RGB and upright; `source` is a file, a PIL image or an array (h, w, 3) uint8."""
    if isinstance(source, Path):
        return load_rgb(source)
    if isinstance(source, Resized):
        return PIL.Image.fromarray(to_square(load_rgb(source.path), source.side))
    return to_rgb(PIL.Image.fromarray(source) if isinstance(source, np.ndarray) else source)


def to_square(image: PIL.Image.Image, size: int, box: Box | None = None) -> np.ndarray:
    """(size, size, 3) uint8: an RGB image, or the part of it in `box`, resized with antialiasing."""
    return np.asarray(image.resize((size, size), Resampling.BICUBIC, box, OVERSIZE))


def to_middle_square(image: PIL.Image.Image, side: int) -> np.ndarray:
    """(side, side, 3) uint8: the middle of an RGB image whose shorter side is resized to `side`, as CLIP sees it.

    >>> to_middle_square(PIL.Image.new("RGB", (40, 20)), 10).shape
    (10, 10, 3)
    """
    shorter = min(image.size)
    left, upper = ((length - shorter) / 2 for length in image.size)
    return to_square(image, side, (left, upper, left + shorter, upper + shorter))


def squares(source: Image | PIL.Image.Image, sizes: Iterable[ImageSize]) -> dict[ImageSize, np.ndarray]:
    """The image (see `decoded`) as a square of every size, not cropped unless the size is a `Crop`; none depends on the
    others."""
    return squares_of(decoded(source), sizes)


def squares_of(image: PIL.Image.Image, sizes: Iterable[ImageSize]) -> dict[ImageSize, np.ndarray]:
    """`squares` of an image that is decoded already."""
    return {size: _square(image, size) for size in sizes}


def load_square(image: Image, size: ImageSize) -> np.ndarray:
    """One of `squares`; an array (size, size, 3) stays as it is."""
    return _square(decoded(image), size)


def _square(image: PIL.Image.Image, size: ImageSize) -> np.ndarray:
    return to_middle_square(image, size.side) if isinstance(size, Crop) else to_square(image, size)


def square_batches(
    files: Sequence[Image], sizes: Collection[ImageSize], batch: int, threads: int
) -> Iterator[dict[ImageSize, np.ndarray]]:
    """(b, size, size, 3) uint8 batches of each size in the order of `files`; each image is decoded once."""

    def load(chunk: Sequence[Image]) -> dict[ImageSize, np.ndarray]:
        images = [squares(file, sizes) for file in chunk]
        return {size: np.stack([image[size] for image in images]) for size in sizes}

    return prefetch(load, (files[i : i + batch] for i in range(0, len(files), batch)), threads)


def image_batches(files: Sequence[Image], size: ImageSize, batch: int, threads: int) -> Iterator[np.ndarray]:
    """(b, size, size, 3) uint8 batches in the order of `files`."""
    return (batches[size] for batches in square_batches(files, [size], batch, threads))
