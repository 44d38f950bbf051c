"""Batches of the fusion network, from features, maps and image files."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from tandem.config.experiments import FusionExperiment
from tandem.data.image_loader import load_square
from tandem.models.augmenter import Augmenter, one_cv2_thread
from tandem.models.fusion_network import Batch
from tandem.models.inputs import Inputs


@dataclass(frozen=True)
class FusionBatches:
    """Reads rows of `inputs` as the network of `cfg` takes them."""

    cfg: FusionExperiment
    inputs: Inputs

    @property
    def views(self) -> int:
        network = self.cfg.pixel_network
        return self.inputs.views if network is None else 2 if network.mirror else 1

    def each_view(self, rows: np.ndarray, views: int) -> Iterator[Batch]:
        """The same rows (b,) in one view after another."""
        pixels, network = None, self.cfg.pixel_network
        if network and self.inputs.files:
            pixels = np.stack([load_square(self.inputs.files[i], network.size) for i in rows])
        for v in range(views):
            flipped = pixels[:, :, ::-1].copy() if pixels is not None and v else pixels
            yield self._batch(rows, np.full(len(rows), v), flipped)

    def augmenter(self, seed: int) -> Augmenter | None:
        network = self.cfg.pixel_network
        return Augmenter(self.cfg.augment, network.size, seed) if network else None

    def augmented(self, augmenter: Augmenter | None, epoch: int, rows: np.ndarray, view: np.ndarray) -> Batch:
        """For training: rows (b,), each in its own `view` (b,); pixels are augmented."""
        if augmenter is None:
            return self._batch(rows, view, None)
        with one_cv2_thread():
            pixels = augmenter.batch(self.inputs.files or (), rows, epoch)
        return self._batch(rows, view, pixels)

    def _batch(self, rows: np.ndarray, view: np.ndarray, pixels: np.ndarray | None) -> Batch:
        cfg, inputs, batch = self.cfg, self.inputs, {}
        if pixels is not None:
            batch["maps"] = torch.from_numpy(pixels)
        elif cfg.trunk:
            batch["maps"] = torch.from_numpy(inputs.maps[cfg.trunk.slug].read(rows, view))
        if cfg.tokens:
            batch["tokens"] = torch.from_numpy(inputs.maps[cfg.tokens.slug].read(rows, 0))
        if cfg.frozen:
            batch["frozen"] = torch.from_numpy(inputs.side_by_side(cfg.frozen, view, rows))
        if cfg.caption:
            batch["caption"] = torch.from_numpy(inputs.side_by_side([cfg.caption], 0, rows))
        return batch


def to_device(batch: Batch, on: torch.device) -> Batch:
    return {name: tensor.to(on) for name, tensor in batch.items()}
