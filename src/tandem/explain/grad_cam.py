"""Grad-CAM: which image regions raise the logit of a label (Selvaraju et al. 2017, arXiv 1610.02391)."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn


def grad_cam(layer: nn.Module, logits: Callable[[], torch.Tensor], labels: Sequence[int]) -> np.ndarray:
    """(b, len(labels), h, w), at least 0: evidence for each label at each position of a feature map.

    `logits()` runs the network once and returns (b, c); the output of `layer` is the feature map (b, d, h, w).
    The weight of a channel is the gradient of the logit, averaged over the positions.
    """
    maps: list[torch.Tensor] = []

    def cut(module: nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
        maps.append(output.detach().float().requires_grad_())  # no gradient is needed before this layer
        return maps[-1]

    with torch.enable_grad(), layer.register_forward_hook(cut):  # removed at the end of the block
        totals = logits().sum(0).unbind()
    (last,) = maps
    out = []
    for label in labels:
        weights = torch.autograd.grad(totals[label], last, retain_graph=True)[0].mean((2, 3), keepdim=True)
        out.append((weights * last.detach()).sum(1).relu())
    return torch.stack(out, 1).cpu().numpy()
