"""The losses that `train.loss` can name, and what they compare the logits with."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tandem.config.training import LOSSES
from tandem.models.own_functions import own_loss
from tandem.runtime.torch_setup import import_timm

Loss = Callable[..., torch.Tensor]  # (logits (b, c), y (b, c), weights (b, c) or None)


class Targets(NamedTuple):
    """The labels of a batch."""

    y: torch.Tensor  # (b, c): 0 or 1, or probabilities
    weights: torch.Tensor | None = None  # (b, c) of each cell in the loss, 0 where it is unknown; None: all are known

    def take(self, rows: torch.Tensor) -> "Targets":
        return Targets(self.y[rows], None if self.weights is None else self.weights[rows])


def make_loss(name: str, smoothing: float = 0.0) -> Loss:
    """The mean over all cells, by their weights if any, of binary cross-entropy, of timm's asymmetric loss (Ben-Baruch
    et al. 2020, arXiv 2009.14119; gamma- 4, gamma+ 1, clip 0.05) or of its focal loss (Lin et al. 2017, arXiv
    1708.02002; gamma 2): the poly loss with no poly term; or the user's, see `own_loss`."""
    if ":" in name:
        return own_loss(name, smoothing)
    each = _loss_per_cell(name, smoothing)

    def loss(logits: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
        if name == "bce" and weights is None:  # its gradient differs from that of `cells.mean()` in the last digit
            return binary_cross_entropy_with_logits(logits.float(), y * (1 - smoothing) + smoothing / 2)
        cells = each(logits.float(), y)
        return cells.mean() if weights is None else (cells * weights).sum() / weights.sum().clamp_min(1e-6)

    return loss


def _loss_per_cell(name: str, smoothing: float) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    if name not in LOSSES:
        raise ValueError(f"loss {name!r} is not one of {sorted(LOSSES)}")
    if name == "bce":
        return lambda logits, y: binary_cross_entropy_with_logits(
            logits, y * (1 - smoothing) + smoothing / 2, reduction="none"
        )
    import_timm()
    from timm.loss import AsymmetricLossMultiLabel, PolyBinaryCrossEntropy

    if name == "asl":
        return AsymmetricLossMultiLabel(smoothing=smoothing, reduction="none")
    return PolyBinaryCrossEntropy(epsilon=0.0, gamma=2.0, smoothing=smoothing, reduction="none")
