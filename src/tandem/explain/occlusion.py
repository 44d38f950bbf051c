"""Heat maps without a feature map: how much a logit falls where a part of the image is covered (Zeiler and Fergus 2014,
arXiv 1311.2901)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from tandem.data.image_loader import squares
from tandem.features.extract import load_encoder
from tandem.models.fold_ensemble import FoldEnsemble
from tandem.models.inputs import Inputs

GRID, WINDOW = 8, 2  # cells a side of the map, and of the square that is covered: (8 - 2 + 1)**2 = 49 model runs


def occlusion_maps(ensemble: FoldEnsemble, row: Inputs, labels: Sequence[int], photo: Image.Image) -> np.ndarray:
    """(len(labels), GRID, GRID), at least 0: by how much the label's logit falls where the image is covered.

    `row` is one image and `photo` the same, in RGB; captions and added features stay as they are.
    """
    config = ensemble.experiment
    seen = [squares(image, config.image_sizes) for image in covered(np.asarray(photo))]
    repeated = row.take(np.zeros(len(seen), int))
    features = dict(repeated.features)
    for cfg in config.encoders:
        if cfg.image_size is not None:
            parts = list(load_encoder(cfg)([each[cfg.image_size] for each in seen]))
            features[cfg.slug] = np.concatenate(parts).astype(np.float16)  # as on disk
    size = config.image_size
    files = repeated.files if size is None else [each[size] for each in seen]
    logits = ensemble.logits(replace(repeated, features=features, files=files))
    return map_of_drops((logits[0] - logits[1:])[:, list(labels)])


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
