"""Random crops and colours of training images, by albumentations."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from tandem.config.training import Augment
from tandem.data.image_io import load_rgb
from tandem.data.image_loader import Image


class Augmenter:
    """Draws the changes of an image from seed, epoch and row alone."""

    def __init__(self, cfg: Augment, size: int, seed: int) -> None:
        self.cfg, self.size, self.seed = cfg, size, seed
        self._local = threading.local()  # a Compose has a random state: one for each thread

    def batch(self, files: Sequence[Image], rows: np.ndarray, epoch: int) -> np.ndarray:
        """(b, size, size, 3) uint8."""
        return np.stack([self._augmented(files[i], epoch, int(i)) for i in rows])

    def _augmented(self, image: Image, epoch: int, row: int) -> np.ndarray:
        if not hasattr(self._local, "compose"):
            self._local.compose = self._compose()
        draw = np.random.default_rng([self.seed, epoch, row]).integers(2**31)
        self._local.compose.set_random_seed(int(draw))
        pixels = np.asarray(load_rgb(image)) if isinstance(image, Path) else image
        return self._local.compose(image=pixels)["image"]

    def _compose(self) -> Callable[..., dict[str, np.ndarray]]:
        os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else its import looks online for a newer version
        import albumentations as transforms

        cfg, size = self.cfg, (self.size, self.size)
        if cfg.scale < 1:
            crop = transforms.RandomResizedCrop(size, scale=(cfg.scale, 1.0), ratio=(0.7, 1.4), p=1.0)
        else:
            crop = transforms.Resize(*size)
        flip = transforms.HorizontalFlip(p=0.5 if cfg.flip else 0.0)
        shares = (cfg.colour, cfg.colour, cfg.colour, cfg.colour / 10)
        colour = transforms.ColorJitter(*shares, p=0.8 if cfg.colour else 0.0)
        erase = transforms.CoarseDropout((1, 1), (0.1, 0.35), (0.1, 0.35), p=cfg.erase)
        return transforms.Compose([crop, flip, colour, erase])


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
