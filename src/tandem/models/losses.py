"""The losses that `train.loss` can name."""

from collections.abc import Callable

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tandem.runtime.torch_setup import import_timm

LOSSES = ("asl", "bce", "focal")  # the names that `train.loss` can have


def make_loss(name: str, smoothing: float = 0.0) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """The mean over all cells of binary cross-entropy, of timm's asymmetric loss (Ben-Baruch et al. 2020, arXiv
    2009.14119; gamma- 4, gamma+ 1, clip 0.05) or of its focal loss (Lin et al. 2017, arXiv 1708.02002; gamma 2): the
    poly loss with no poly term."""
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is not one of {sorted(LOSSES)}")
    if name == "bce":
        return lambda logits, targets: bce(logits, targets, smoothing)
    import_timm()
    from timm.loss import AsymmetricLossMultiLabel, PolyBinaryCrossEntropy

    asymmetric = AsymmetricLossMultiLabel(smoothing=smoothing, reduction="mean")  # its default sums over the labels
    focal = PolyBinaryCrossEntropy(epsilon=0.0, gamma=2.0, smoothing=smoothing)
    return lambda logits, targets: (asymmetric if name == "asl" else focal)(logits.float(), targets)


def bce(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross-entropy, mean over all cells, by their weights if any."""
    targets = targets * (1 - smoothing) + smoothing / 2
    if weights is None:
        return binary_cross_entropy_with_logits(logits.float(), targets)
    cells = binary_cross_entropy_with_logits(logits.float(), targets, weights, reduction="sum")
    return cells / weights.sum().clamp_min(1e-6)
