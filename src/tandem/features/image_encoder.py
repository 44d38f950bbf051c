"""Frozen timm backbones: a vector for each image and view, or the maps of early stages."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from tandem.config.encoders import ImageEncoder, TrunkEncoder
from tandem.data.image_loader import Image, image_batches
from tandem.features.image_backbone_split import Normalise, early_stages, prepare
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

# on a CPU, the activations of few images fit its caches: 1.1 to 1.5 times the speed of batches of 32
BATCH = {"cpu": 4, "cuda": 64}


def load_encoder(cfg: ImageEncoder | TrunkEncoder) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """Images in order -> float32 blocks: vectors (b, views, d), or of a TrunkEncoder maps (b, views, h, w, d); view 1,
    if any, is the mirrored one."""
    on = device()
    if isinstance(cfg, TrunkEncoder):
        early = early_stages(cfg).to(on)

        def compute(pixels: torch.Tensor) -> torch.Tensor:
            with autocast(on):
                maps = early(pixels)
            return maps.float().permute(0, 2, 3, 1)

    else:
        network: Any = prepare(_sized(load_backbone(cfg.model, cfg.weights), cfg)).to(on)
        normalise, how = Normalise(network).to(on), cfg.pool

        def compute(pixels: torch.Tensor) -> torch.Tensor:
            with autocast(on):
                features = network.forward_features(normalise(pixels))
            return pool(features.float(), network, how)

    @torch.inference_mode()
    def encode(files: Sequence[Image]) -> Iterator[np.ndarray]:
        for batch in image_batches(files, cfg.size, BATCH[on.type], threads()):
            pixels = torch.from_numpy(batch).to(on)
            views = [pixels, pixels.flip(2)] if cfg.mirror else [pixels]
            yield torch.stack([compute(view) for view in views], 1).cpu().numpy()

    return encode


def _sized(network: Any, cfg: ImageEncoder) -> nn.Module:
    """The network, a transformer's position embedding interpolated to the image size; other networks take any size."""
    if hasattr(network, "set_input_size"):
        patch = network.patch_embed.patch_size[0]
        if cfg.size % patch:
            near = round(cfg.size / patch) * patch
            raise ValueError(f"size = {cfg.size}: {cfg.model} takes multiples of {patch}, such as {near}")
        network.set_input_size((cfg.size, cfg.size))
    return network


def pool(features: torch.Tensor, network: nn.Module, how: str) -> torch.Tensor:
    """(b, d): mean over positions, with "avgmax" also the maximum, and a transformer's class token before them."""
    parts: list[torch.Tensor] = []
    if features.ndim == 4:
        if features.shape[1] == network.num_features:
            features = features.permute(0, 2, 3, 1)
        positions = features.flatten(1, 2)
    else:
        n: int = getattr(network, "num_prefix_tokens", 0)
        positions = features[:, n:]
        if n:
            parts.append(features[:, 0])
    parts.append(positions.mean(1))
    if how == "avgmax":
        parts.append(positions.amax(1))
    return torch.cat(parts, 1)
