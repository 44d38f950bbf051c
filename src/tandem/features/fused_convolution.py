"""Convolutions with their activation in one call of oneDNN, for networks on a CPU that are not trained."""

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.functional import pad

from tandem.runtime.torch_setup import autocast, device

# the name and the arguments by which oneDNN knows them; others would be rounded to bfloat16 once instead of twice
ACTIVATIONS: dict[type[nn.Module], tuple[str, list[float]]] = {
    nn.ReLU6: ("hardtanh", [0.0, 6.0]),
    nn.ReLU: ("relu", []),
}
TOLERANCE = 0.02  # of the largest value, between a network and its fused copy: bfloat16 has 8 bits


class FusedConvolution(nn.Module):
    """A convolution, its padding and the activation that follows it; in bfloat16 under autocast, else in float32.

    Maps are read and written once instead of three times: an EfficientNet Lite takes 0.7 of the time. The values are
    the same, as clipping at 0 and 6 gives the same before and after rounding.
    """

    def __init__(self, convolution: nn.Conv2d, activation: nn.Module | None) -> None:
        super().__init__()
        self.same = type(convolution) is not nn.Conv2d  # padding of TensorFlow: more on the right than on the left
        self.padding = cast(tuple[int, int], convolution.padding)
        self.stride, self.dilation, self.groups = convolution.stride, convolution.dilation, convolution.groups
        self.weight, self.bias = convolution.weight.detach(), convolution.bias
        self.activation = ("none", cast(list[float], [])) if activation is None else ACTIVATIONS[type(activation)]
        self._kernels: dict[tuple, tuple[torch.Tensor, torch.Tensor | None]] = {}

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.to(torch.bfloat16 if torch.is_autocast_enabled("cpu") else torch.float32)
        before, after = self._padding(x)
        weight, bias = self._kernel(x, before, after)
        call, (name, arguments) = torch.ops.mkldnn._convolution_pointwise, self.activation
        return call(x, weight, bias, after, self.stride, self.dilation, self.groups, name, arguments, "")

    def _padding(self, x: torch.Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """(above, left), (below, right)."""
        if not self.same:
            return self.padding, self.padding
        sizes = zip(x.shape[-2:], self.weight.shape[-2:], self.stride, self.dilation, strict=True)
        whole = [max(0, (-(-n // s) - 1) * s + (k - 1) * d + 1 - n) for n, k, s, d in sizes]
        return tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)

    def _kernel(
        self, x: torch.Tensor, before: tuple[int, ...], after: tuple[int, ...]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(weights in the order of oneDNN, bias). It pads both sides alike, by `after`: where `before` is less, the
        kernel begins with zeros."""
        key = (x.dtype, x.shape[1:], before)
        if key not in self._kernels:
            top, left = (b - a for a, b in zip(before, after, strict=True))
            weight = pad(self.weight, (left, 0, top, 0)).to(x.dtype, memory_format=torch.channels_last)
            reorder = torch.ops.mkldnn._reorder_convolution_weight
            weight = reorder(weight, after, self.stride, self.dilation, self.groups, list(x.shape))
            self._kernels[key] = weight, None if self.bias is None else self.bias.detach().to(x.dtype)
        return self._kernels[key]


def fused(network: nn.Module, size: int) -> nn.Module:
    """The network, frozen, with each convolution and its activation in one call; on a GPU as it is."""
    on = device()
    if on.type != "cpu":
        return network
    probe = torch.linspace(-1, 1, 3 * size**2).view(1, 3, size, size)

    def compute(other: nn.Module) -> torch.Tensor:
        with autocast(on):
            return cast(Any, other).forward_features(probe)

    return fuse_convolutions(network, compute)


def fuse_convolutions(network: nn.Module, compute: Callable[[nn.Module], torch.Tensor]) -> nn.Module:
    """A copy of the network with its convolutions fused, where `compute` gives the same with both; else itself."""
    if not torch.backends.mkldnn.is_available() or not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
        return network
    other, changed = copy.deepcopy(network), False
    for parent in list(other.modules()):
        children = [*parent.named_children(), ("", nn.Identity())]
        for (name, child), (following, activation) in zip(children, children[1:], strict=False):
            if isinstance(child, nn.Conv2d) and _can_be_fused(child):
                known = type(activation) in ACTIVATIONS
                setattr(parent, name, FusedConvolution(child, activation if known else None))
                if known:
                    setattr(parent, following, nn.Identity())
                    changed = True
    if not changed:
        return network
    try:
        with torch.inference_mode():
            expected, found = compute(network).float(), compute(other).float()
    except (AttributeError, AssertionError, RuntimeError, TypeError):  # a network that reads its convolutions' weights
        return network
    close = expected.shape == found.shape and (expected - found).abs().max() <= TOLERANCE * expected.abs().max()
    return other if close else network


def _can_be_fused(convolution: nn.Conv2d) -> bool:
    kind: Any = type(convolution)
    plain = kind is nn.Conv2d or (kind.__name__ == "Conv2dSame" and convolution.dilation == (1, 1))
    return plain and convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
