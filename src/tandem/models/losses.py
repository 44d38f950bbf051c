"""Multi-label losses on logits, by the names that an experiment's `loss` can have."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from tandem.runtime.torch_setup import import_timm

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def bce(smoothing: float) -> Loss:
    """Binary cross-entropy, mean over all cells."""

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2)

    return loss


def asl(smoothing: float) -> nn.Module:
    """Asymmetric loss, gamma- 4, gamma+ 1, clip 0.05 (Ben-Baruch et al. 2020, arXiv 2009.14119), timm's."""
    import_timm()
    from timm.loss import AsymmetricLossMultiLabel

    return AsymmetricLossMultiLabel(smoothing=smoothing)


def focal(smoothing: float) -> nn.Module:
    """Focal loss, gamma 2 (Lin et al. 2017, arXiv 1708.02002): timm's poly loss with no poly term."""
    import_timm()
    from timm.loss import PolyBinaryCrossEntropy

    return PolyBinaryCrossEntropy(epsilon=0.0, gamma=2.0, smoothing=smoothing)


LOSSES: dict[str, Callable[[float], Loss]] = {"bce": bce, "asl": asl, "focal": focal}


def make_loss(name: str, smoothing: float = 0.0) -> Loss:
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is not one of {sorted(LOSSES)}")
    loss = LOSSES[name](smoothing)
    return lambda logits, targets: loss(logits.float(), targets)


def weighted_bce(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Binary cross-entropy, the mean over all cells with these weights."""
    targets = targets * (1 - smoothing) + smoothing / 2
    cells = binary_cross_entropy_with_logits(logits.float(), targets, weights, reduction="sum")
    return cells / weights.sum().clamp_min(1e-6)
