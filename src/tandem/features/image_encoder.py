"""Frozen timm backbones: a vector for each image and view, or the maps of early stages."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tandem.config.encoders import ImageEncoder, ImageSize, TrunkEncoder
from tandem.data.image_loader import Image, image_batches
from tandem.features.image_backbone_split import Normalise, early_stages, prepare
from tandem.features.image_layout import Layout, pool, set_image_size
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

# on a CPU, the activations of few images fit its caches: 1.1 to 1.5 times the speed of batches of 32
BATCH = {"cpu": 4, "cuda": 64}


def load_encoder(cfg: ImageEncoder | TrunkEncoder) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """Images in order -> float32 blocks: vectors (b, views, d), or of a TrunkEncoder maps (b, views, h, w, d) or
    tokens (b, views, t, d); view 1, if any, is the mirrored one."""
    on = device()
    if isinstance(cfg, TrunkEncoder):
        early = early_stages(cfg).to(on)

        def compute(pixels: torch.Tensor) -> torch.Tensor:
            with autocast(on):
                maps = early(pixels)
            return early.layout.stored(maps.float())

    else:
        plain = set_image_size(load_backbone(cfg.model, cfg.weights), cfg.model, cfg.size)
        network: Any = prepare(plain).to(on)
        normalise, how, model = Normalise(network).to(on), cfg.pool, cfg.model

        def compute(pixels: torch.Tensor) -> torch.Tensor:
            with autocast(on):
                features = network.forward_features(normalise(pixels))
            return pool(features.float(), Layout.of(features, network, model), how, model)

    return partial(encode_images, compute, cfg.size, cfg.mirror)


@torch.inference_mode()
def encode_images(
    compute: Callable[[torch.Tensor], torch.Tensor], size: ImageSize, mirror: bool, files: Sequence[Image]
) -> Iterator[np.ndarray]:
    """Blocks (b, views, ...) of what `compute` makes of uint8 pixels (b, size, size, 3); view 1 is the mirrored one."""
    on = device()
    for batch in image_batches(files, size, BATCH[on.type], threads()):
        pixels = torch.from_numpy(batch).to(on)
        views = [pixels, pixels.flip(2)] if mirror else [pixels]
        yield torch.stack([compute(view) for view in views], 1).cpu().numpy()
