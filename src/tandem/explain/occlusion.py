"""Heat maps without a feature map: how much a logit falls where a part of the image is covered (Zeiler and Fergus 2014,
arXiv 1311.2901)."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from tandem.config.encoders import Crop, ImageSize
from tandem.data.image_loader import OVERSIZE, squares
from tandem.features.extract import load_encoder
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs

GRID, WINDOW = 8, 2  # cells a side of the map, and of the square that is covered
RUNS = 1 + (GRID - WINDOW + 1) ** 2  # of the models: the image as it is, and with each place covered


def occlusion_maps(ensemble: FoldEnsemble, row: Inputs, labels: Sequence[int], photo: Image.Image) -> np.ndarray:
    """(len(labels), GRID, GRID), at least 0: by how much the label's logit falls where the image is covered.

    `row` is one image and `photo` the same, in RGB; captions and added features stay as they are.
    """
    config = ensemble.experiment
    seen = covered_squares(photo, config.image_sizes)
    repeated = row.take(np.zeros(RUNS, int))
    features = dict(repeated.features)
    for cfg in config.encoders:
        if cfg.image_size is not None:
            parts = list(load_encoder(cfg)(seen[cfg.image_size]))
            features[cfg.slug] = np.concatenate(parts).astype(np.float16)  # as on disk
    size = config.image_size
    files = repeated.files if size is None else seen[size]
    logits = ensemble.logits(replace(repeated, features=features, files=files))
    return map_of_drops((logits[0] - logits[1:])[:, list(labels)])


def covered_squares(photo: Image.Image, sizes: Collection[ImageSize]) -> dict[ImageSize, list[np.ndarray]]:
    """RUNS squares of each size: of a photo in RGB as it is, then `covered`."""
    largest = max(size.side if isinstance(size, Crop) else size for size in sizes)
    small = photo.reduce(max(1, int(min(photo.size) / (OVERSIZE * largest))))  # else large photos cost seconds
    seen = [squares(image, sizes) for image in covered(np.asarray(small))]
    return {size: [each[size] for each in seen] for size in sizes}


def corners() -> list[tuple[int, int]]:
    """Row and column of the first cell of each place of the window."""
    return [(i, j) for i in range(GRID - WINDOW + 1) for j in range(GRID - WINDOW + 1)]


def covered(image: np.ndarray) -> Iterator[np.ndarray]:
    """The image (h, w, 3), then for each of `corners` the image with the window in its mean colour."""
    rows, columns = (np.linspace(0, length, GRID + 1).round().astype(int) for length in image.shape[:2])
    mean = image.mean((0, 1)).round()
    yield image
    for i, j in corners():
        changed = image.copy()
        changed[rows[i] : rows[i + WINDOW], columns[j] : columns[j + WINDOW]] = mean
        yield changed


def map_of_drops(drops: np.ndarray) -> np.ndarray:
    """(c, GRID, GRID) from (len(corners()), c): the mean over the windows that cover a cell; 0 where it is negative."""
    total, count = np.zeros((drops.shape[1], GRID, GRID)), np.zeros((GRID, GRID))
    for (i, j), drop in zip(corners(), drops, strict=True):
        total[:, i : i + WINDOW, j : j + WINDOW] += drop[:, None, None]
        count[i : i + WINDOW, j : j + WINDOW] += 1
    return np.maximum(total / count, 0)
