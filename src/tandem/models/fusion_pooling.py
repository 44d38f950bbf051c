"""Means and maxima over positions and over tokens, and captions in groups of like length."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import normalize, pad

from tandem.models.data_parallel import ALONE, split

GROUPS, SMALLEST = 3, 16  # of captions in a batch, and the rows of a group at least


def mean_and_max(positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(b, d) float32 each, over the positions of a map (b, p, d) of any float type."""
    if positions.device.type == "cpu":
        return _MeanAndMax.apply(positions)
    return positions.mean(1, dtype=torch.float32), positions.amax(1).float()


class _MeanAndMax(torch.autograd.Function):
    """The gradient is that of both functions (equal largest values share it, as of `amax`), which takes a CPU several
    times as long in two tensors and in float32."""

    @staticmethod
    def forward(ctx: Any, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        largest = positions.amax(1)
        ctx.save_for_backward(positions, largest)
        return positions.mean(1, dtype=torch.float32), largest.float()

    @staticmethod
    def backward(ctx: Any, of_mean: torch.Tensor, of_largest: torch.Tensor) -> torch.Tensor:
        positions, largest = ctx.saved_tensors
        # 0 and 1 in the type of the map: a CPU takes ten times as long to multiply by bool
        is_largest = torch.eq(positions, largest[:, None], out=torch.empty_like(positions))
        each = of_largest / is_largest.sum(1, dtype=torch.float32)
        mean = (of_mean / positions.shape[1]).to(positions.dtype)
        return torch.addcmul(mean[:, None], is_largest, each[:, None].to(positions.dtype))


def by_length(
    layers: Callable[[torch.Tensor], torch.Tensor], states: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """float32 (b, t, d) that `layers` return for states (b, t, d): on a CPU, groups of captions of like length are
    computed one after another, each without the padding that follows its longest.

    Not where several processes share a batch: their dropout is drawn for whole batches."""
    groups = min(GROUPS, len(states) // SMALLEST)
    if states.device.type != "cpu" or groups < 2 or split() != ALONE:
        return layers(states).float()
    order, parts = lengths.argsort(stable=True), []
    for rows in order.tensor_split(groups):
        longest = max(1, int(lengths[rows].max()))
        part = layers(states[rows, :longest]).float()
        parts.append(pad(part, (0, 0, 0, states.shape[1] - longest)))
    return torch.cat(parts)[order.argsort()]


def pool_tokens(tokens: torch.Tensor, token_mask: torch.Tensor) -> list[torch.Tensor]:
    """(b, d) each: the normalised mean over a caption's tokens, the maximum and the minimum."""
    mask = token_mask[..., None]
    mean = (tokens * mask).sum(1) / mask.sum(1).clamp_min(1)
    far = torch.finfo(tokens.dtype).max
    largest, smallest = tokens.masked_fill(~mask, -far).amax(1), tokens.masked_fill(~mask, far).amin(1)
    return [normalize(mean, dim=1), largest.clamp(-100, 100), smallest.clamp(-100, 100)]
