"""Random crops, mirror images and colours (by albumentations) of training images."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tandem.config.training import Augment
from tandem.data.image_loader import Box, Image, decoded, load_square, to_square
from tandem.models.own_functions import own_augmentation

RATIO = (0.7, 1.4)  # width / height of a random crop
TRIES = 10  # of a random crop that fits into the image; else it is the whole image
SHRUNK = 1.5  # a crop of at least this multiple of the wanted size is averaged, else interpolated


def random_box(rng: np.random.Generator, width: int, height: int, scale: float) -> tuple[int, int, int, int]:
    """A random part of an image that has at least `scale` of its area.

    Source: Szegedy et al. 2015, "Going deeper with convolutions".
    """
    for _ in range(TRIES):
        area = width * height * rng.uniform(scale, 1)
        ratio = np.exp(rng.uniform(*np.log(RATIO)))
        w, h = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
            return x, y, x + w, y + h
    return 0, 0, width, height


def cut(pixels: np.ndarray, box: tuple[int, int, int, int], size: int) -> np.ndarray:
    """(size, size, 3) uint8: the part of an image (h, w, 3) in `box`; by OpenCV, in a tenth of Pillow's time."""
    import cv2

    left, upper, right, lower = box
    shrunk = min(right - left, lower - upper) >= SHRUNK * size
    part = pixels[upper:lower, left:right]
    return cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if shrunk else cv2.INTER_CUBIC)


class Augmenter:
    """Draws the changes of an image from seed, epoch and row alone."""

    def __init__(self, cfg: Augment, size: int, seed: int) -> None:
        self.cfg, self.size, self.seed = cfg, size, seed
        self.own = own_augmentation(cfg.augment)
        self._local = threading.local()  # a Compose has a random state: one for each thread

    def batch(self, files: Sequence[Image], rows: np.ndarray, epoch: int) -> np.ndarray:
        """(b, size, size, 3) uint8."""
        return np.stack([self._augmented(files[i], epoch, int(i)) for i in rows])

    def _augmented(self, source: Image, epoch: int, row: int) -> np.ndarray:
        if not hasattr(self._local, "compose"):
            self._local.compose = self._compose()
        rng = np.random.default_rng([self.seed, epoch, row])
        self._local.compose.set_random_seed(int(rng.integers(2**31)))
        found = self._local.compose(image=self._crop(source, rng))["image"]
        return self.own(found, rng) if self.own else found

    def _crop(self, source: Image, rng: np.random.Generator) -> np.ndarray:
        scale, side = self.cfg.scale, self.cfg.resized
        if side:
            pixels = source if isinstance(source, np.ndarray) else load_square(source, side)
            return cut(pixels, random_box(rng, side, side, scale) if scale < 1 else (0, 0, side, side), self.size)
        image = decoded(source)
        box: Box | None = random_box(rng, *image.size, scale) if scale < 1 else None
        return to_square(image, self.size, box)

    def _compose(self) -> Callable[..., dict[str, np.ndarray]]:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import looks online for a newer version
        import albumentations as transforms

        cfg = self.cfg
        flip = transforms.HorizontalFlip(p=0.5 if cfg.flip else 0.0)
        shares = (cfg.colour, cfg.colour, cfg.colour, cfg.colour / 10)
        colour = transforms.ColorJitter(*shares, p=0.8 if cfg.colour else 0.0)
        erase = transforms.CoarseDropout((1, 1), (0.1, 0.35), (0.1, 0.35), p=cfg.erase)
        return transforms.Compose([flip, colour, erase])


@contextmanager
def one_cv2_thread() -> Iterator[None]:
    """OpenCV uses no threads of its own: images are augmented side by side already."""
    import cv2

    before = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
