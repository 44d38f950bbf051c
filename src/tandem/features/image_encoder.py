"""Frozen image networks: a vector for each image and view, or the maps of early stages; each image is decoded once for
all encoders that are computed together."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch

from tandem.config.encoders import ImageEncoder, ImageSize, TrunkEncoder
from tandem.data.image_loader import Image, square_batches
from tandem.features.image_backbone_split import early_stages
from tandem.features.image_layout import Layout, pool
from tandem.features.shared_stages import shared_stages, whole_network
from tandem.runtime.resources import threads
from tandem.runtime.torch_setup import autocast, device

LOADED = {"cpu": 4, "cuda": 64, "mps": 64}  # images in one batch
# on a CPU, the activations of few images fit its caches: 1.1 to 1.5 times the speed of batches of 32
PIXELS = {"cpu": 4 * 320**2, "cuda": 2**31, "mps": 2**31}  # in one call of a network
Compute = Callable[[torch.Tensor, Collection[str]], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class ImageNetwork:
    """A network that computes the features of one or several encoders.

    views    {slug of the encoder: 1, or 2 with the mirrored image}
    compute  uint8 pixels (b, size, size, 3) and slugs -> {slug: float32 (b, ...)}
    """

    size: ImageSize
    views: dict[str, int]
    compute: Compute


def load_encoder(cfg: ImageEncoder | TrunkEncoder) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """Images in order -> float32 blocks: vectors (b, views, d), or of a TrunkEncoder maps (b, views, h, w, d) or
    tokens (b, views, t, d); view 1, if any, is the mirrored one."""
    return alone(load_networks([cfg]))


def alone(networks: Sequence[ImageNetwork]) -> Callable[[Sequence[Image]], Iterator[np.ndarray]]:
    """The blocks of the one encoder that the networks have."""
    (slug,) = [slug for network in networks for slug in network.views]
    return lambda files: (blocks[slug] for blocks in encode_images(networks, files, [slug]))


def load_networks(encoders: Sequence[ImageEncoder | TrunkEncoder]) -> list[ImageNetwork]:
    """The networks of several encoders; those of the same model, weights and size share one, and its stages."""
    groups: dict[tuple[str, str, int], list[ImageEncoder | TrunkEncoder]] = {}
    for cfg in encoders:
        groups.setdefault((cfg.model, cfg.weights, cfg.size), []).append(cfg)
    return [_early(group[0]) if _one_trunk(group) else _shared(group) for group in groups.values()]


def _one_trunk(group: Sequence[ImageEncoder | TrunkEncoder]) -> TypeGuard[Sequence[TrunkEncoder]]:
    return len(group) == 1 and isinstance(group[0], TrunkEncoder)


def _early(cfg: TrunkEncoder) -> ImageNetwork:
    on = device()
    early = early_stages(cfg).to(on)  # without the stages that come after it

    def compute(pixels: torch.Tensor, _: object) -> dict[str, torch.Tensor]:
        with autocast(on):
            maps = early(pixels)
        return {cfg.slug: early.layout.stored(maps.float())}

    return ImageNetwork(cfg.size, {cfg.slug: 1 + cfg.mirror}, compute)


def _shared(group: Sequence[ImageEncoder | TrunkEncoder]) -> ImageNetwork:
    on, model = device(), group[0].model
    pooled = {cfg.slug: cfg.pool for cfg in group if isinstance(cfg, ImageEncoder)}
    trunks = [cfg for cfg in group if isinstance(cfg, TrunkEncoder)]
    stages = (shared_stages(trunks) if trunks else whole_network(group[0])).to(on)

    def compute(pixels: torch.Tensor, slugs: Collection[str]) -> dict[str, torch.Tensor]:
        whole = {slug: how for slug, how in pooled.items() if slug in slugs}
        with autocast(on):
            states, features = stages(pixels, slugs, bool(whole))
        found = {slug: stages.cuts[slug][1].stored(of.float()) for slug, of in states.items()}
        if features is not None:
            layout = Layout.of(features, stages.network, model)
            found |= {slug: pool(features.float(), layout, how, model) for slug, how in whole.items()}
        return found

    return ImageNetwork(group[0].size, {cfg.slug: 1 + cfg.mirror for cfg in group}, compute)


@torch.inference_mode()
def encode_images(
    networks: Sequence[ImageNetwork], files: Sequence[Image], slugs: Collection[str]
) -> Iterator[dict[str, np.ndarray]]:
    """{slug: float32 block (b, views, ...)} of the encoders of one network after another, for one batch of images after
    another; view 1 is the mirrored one."""
    on = device()
    used = [network for network in networks if network.views.keys() & slugs]
    for squares in square_batches(files, {network.size for network in used}, LOADED[on.type], threads()):
        for network in used:
            pixels = torch.from_numpy(squares[network.size]).to(on)
            parts = pixels.split(max(1, PIXELS[on.type] // pixels[0, ..., 0].numel()))
            found = [_views(network, part, slugs) for part in parts]
            yield {slug: torch.cat([blocks[slug] for blocks in found]).cpu().numpy() for slug in found[0]}


def _views(network: ImageNetwork, pixels: torch.Tensor, slugs: Collection[str]) -> dict[str, torch.Tensor]:
    """{slug: (b, views, ...)}."""
    views: dict[str, list[torch.Tensor]] = {}
    for number, seen in enumerate((pixels, pixels.flip(2))):
        wanted = [slug for slug, n in network.views.items() if slug in slugs and n > number]
        if wanted:
            for slug, values in network.compute(seen, wanted).items():
                views.setdefault(slug, []).append(values)
    return {slug: torch.stack(values, 1) for slug, values in views.items()}
