"""Mixup and CutMix of images with several labels."""

import numpy as np
import torch

from tandem.models.losses import Targets


def mixed(
    pixels: torch.Tensor, targets: Targets, mixup: float, cutmix: float, rng: np.random.Generator
) -> tuple[torch.Tensor, Targets]:
    """Pixels (b, h, w, 3) and targets (b, c) of which each image is mixed with another of the batch, in a share drawn
    from Beta(a, a): all pixels with a = `mixup` (Zhang et al. 2018, arXiv 1710.09412), or a rectangle with a = `cutmix`
    (Yun et al. 2019, arXiv 1905.04899). Where both are above 0, a coin decides for the batch.

    timm's Mixup draws from numpy's global random state, so a run that continues would draw other shares.
    """
    if not (mixup or cutmix):
        return pixels, targets
    other = pixels.flip(0)
    if not cutmix or (mixup and rng.random() < 0.5):
        kept = rng.beta(mixup, mixup)
        pixels = kept * pixels.float() + (1 - kept) * other.float()
    else:
        side = (1 - rng.beta(cutmix, cutmix)) ** 0.5  # of the rectangle, as a share of the image's
        (top, bottom), (left, right) = (_interval(length, side, rng) for length in pixels.shape[1:3])
        pixels = pixels.clone()
        pixels[:, top:bottom, left:right] = other[:, top:bottom, left:right]
        kept = 1 - (bottom - top) * (right - left) / (pixels.shape[1] * pixels.shape[2])
    return pixels, _mixed_targets(targets, kept)


def _mixed_targets(targets: Targets, kept: float) -> Targets:
    """Each row's targets in the share `kept`, another's in the rest; a cell that one of both knows has its target, and
    the weight that its share has."""
    y, weights = targets
    if weights is None:
        return Targets(kept * y + (1 - kept) * y.flip(0))
    own, other = kept * weights, (1 - kept) * weights.flip(0)
    both = own + other
    return Targets((own * y + other * y.flip(0)) / both.clamp_min(1e-6), both)


def _interval(length: int, share: float, rng: np.random.Generator) -> tuple[int, int]:
    """(start, end) around a random centre, cut off at the borders."""
    centre, half = int(rng.integers(length)), share * length / 2
    return max(0, round(centre - half)), min(length, round(centre + half))
