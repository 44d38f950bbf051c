"""Frozen timm backbones: one vector for each image and view, from the pooled last feature map."""

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tandem.config.encoders import ImageEncoder
from tandem.data.image_loader import Image, image_batches
from tandem.features.pretrained_weights import load_backbone
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

# on a CPU, the activations of few images fit its caches: 1.1 to 1.5 times the speed of batches of 32
BATCH = {"cpu": 4, "cuda": 64}


def load_encoder(cfg: ImageEncoder) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """Images in order -> (b, views, d) float32; view 1, if any, is the mirrored one."""
    on = device()
    network: Any = prepare(_sized(load_backbone(cfg.model, cfg.weights), cfg)).to(on)
    normalise = Normalise(network).to(on)

    @torch.inference_mode()
    def encode(files: Sequence[Image]) -> Iterator[np.ndarray]:
        for batch in image_batches(files, cfg.size, BATCH[on.type], threads()):
            pixels = normalise(torch.from_numpy(batch).to(on))
            views = [pixels, pixels.flip(3)] if cfg.mirror else [pixels]
            pooled = []
            for view in views:
                with autocast(on):
                    features = network.forward_features(view)
                pooled.append(pool(features.float(), network, cfg.pool))
            yield torch.stack(pooled, 1).cpu().numpy()

    return encode


def _sized(network: nn.Module, cfg: ImageEncoder) -> nn.Module:
    """With a transformer's position embedding interpolated to the image size; other networks take any size."""
    timm_network: Any = network
    if hasattr(network, "set_input_size"):
        patch = timm_network.patch_embed.patch_size[0]
        if cfg.size % patch:
            near = round(cfg.size / patch) * patch
            raise ValueError(f"size = {cfg.size}: {cfg.model} takes multiples of {patch}, such as {near}")
        timm_network.set_input_size((cfg.size, cfg.size))
    return network


class Normalise(nn.Module):
    """uint8 (b, h, w, 3) -> float (b, 3, h, w), channels last in memory, by the network's mean and deviation."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        mean, std = (cast(Any, network).pretrained_cfg[key] for key in ("mean", "std"))
        self.register_buffer("mean", torch.tensor(mean).mul(255).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).mul(255).view(1, 3, 1, 1))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # permuted, (b, h, w, 3) is channels last
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std


def prepare(network: nn.Module) -> nn.Module:
    """For inference: eval, batch norms folded into their convolutions if outputs stay the same, channels last."""
    plain: Any = network.eval()
    fused: Any = _fuse(copy.deepcopy(network))
    probe = torch.linspace(-1, 1, 3 * 64 * 64).view(1, 3, 64, 64)
    try:
        expected, folded = plain.forward_features(probe), fused.forward_features(probe)
        same = torch.allclose(expected, folded, rtol=1e-3, atol=1e-3)
    except (AssertionError, RuntimeError):  # a network of a fixed size does not take the probe
        same = False
    return channels_last(fused if same else plain)


def channels_last(network: Any) -> nn.Module:  # the annotations of Module.to lack memory_format
    return network.to(memory_format=torch.channels_last)


def _fuse(network: nn.Module) -> nn.Module:
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (first, conv), (second, norm) in zip(children, children[1:], strict=False):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, first, fuse_conv_bn_eval(conv, norm))
                act = getattr(norm, "act", nn.Identity())  # timm's BatchNormAct2d holds its activation
                setattr(parent, second, act)
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
