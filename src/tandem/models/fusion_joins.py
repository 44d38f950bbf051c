"""Ways to join hidden image and caption features: each gives terms that add up to the logits.

A join maps u (b, h) of the image and v (b, h) of the caption to (b, c, 3): for each label the image term, the caption
term, and the fusion term. The context, which one of them attends to: tokens (b, t, d), their mask (b, t) bool,
 and positions (b, p, d') of the image; None where their input is missing.
"""

from collections.abc import Callable

import torch
from torch import nn

from tandem.config.training import Fusion
from tandem.models.mlp_head import hidden_layer

WIDTH, HEADS = 256, 4  # of the cross-attention


class Gated(nn.Module):
    """2 g a(u) + 2 (1 - g) t(v) + P (A u * B v): a gate g (b, c) between two linear terms, and a low-rank product.

    Gate: Arevalo et al. 2017, arXiv 1702.01992, here one for each label; product: Kim et al. 2017, arXiv 1610.04325.
    """

    def __init__(self, cfg: Fusion, n_labels: int) -> None:
        super().__init__()
        self.image, self.caption = _linear(cfg, n_labels), _linear(cfg, n_labels)
        self.gate = nn.Linear(2 * cfg.hidden, n_labels) if cfg.gate else None
        if self.gate:
            nn.init.zeros_(self.gate.weight)  # equal weights at first
            nn.init.zeros_(self.gate.bias)
        self.a, self.b = _linear(cfg, cfg.rank), _linear(cfg, cfg.rank)
        self.product = nn.Linear(cfg.rank, n_labels, bias=False)
        for factor in (self.a, self.b):
            # products of about 1, so that their gradients are large enough to learn
            nn.init.normal_(factor.weight, std=2 * cfg.hidden**-0.5)

    def forward(self, u: torch.Tensor, v: torch.Tensor, *context: torch.Tensor | None) -> torch.Tensor:
        image, caption = self.image(u), self.caption(v)
        if self.gate:
            gate = 2 * torch.sigmoid(self.gate(torch.cat([u, v], 1)))
            image, caption = gate * image, (2 - gate) * caption
        return torch.stack([image, caption, self.product(self.a(u) * self.b(v))], -1)


class Concat(nn.Module):
    """A hidden layer on both, concatenated: the terms can't be separated, so all is the fusion term."""

    def __init__(self, cfg: Fusion, n_labels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*hidden_layer(2 * cfg.hidden, cfg.hidden, cfg.dropout), _linear(cfg, n_labels))

    def forward(self, u: torch.Tensor, v: torch.Tensor, *context: torch.Tensor | None) -> torch.Tensor:
        both = self.layers(torch.cat([u, v], 1))
        return torch.stack([torch.zeros_like(both), torch.zeros_like(both), both], -1)


class Film(nn.Module):
    """W ((1 + scale(v)) u + shift(v)): the caption scales and shifts u (Perez et al. 2018, arXiv 1709.07871)."""

    def __init__(self, cfg: Fusion, n_labels: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Linear(cfg.hidden, cfg.hidden), nn.Linear(cfg.hidden, cfg.hidden)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)
        self.out = _linear(cfg, n_labels)

    def forward(self, u: torch.Tensor, v: torch.Tensor, *context: torch.Tensor | None) -> torch.Tensor:
        return torch.stack([self.out(u), self.out(self.shift(v)), self.out(self.scale(v) * u)], -1)


class Attention(nn.Module):
    """a(u) + t(v) + W z, where the caption's tokens attend to the image's positions and z (b, 256) is their mean."""

    def __init__(self, cfg: Fusion, n_labels: int, token_width: int, position_width: int) -> None:
        super().__init__()
        self.image, self.caption = _linear(cfg, n_labels), _linear(cfg, n_labels)
        self.queries, self.keys = nn.Linear(token_width, WIDTH), nn.Linear(position_width, WIDTH)
        self.no_tokens = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.no_positions = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.attend = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.out = nn.Sequential(nn.LayerNorm(WIDTH), nn.Dropout(cfg.dropout), nn.Linear(WIDTH, n_labels))

    def forward(self, u: torch.Tensor, v: torch.Tensor, *context: torch.Tensor | None) -> torch.Tensor:
        tokens, token_mask, positions = context
        queries = self.no_tokens.expand(len(u), -1, -1) if tokens is None else self.queries(tokens)
        keys = self.no_positions.expand(len(u), -1, -1) if positions is None else self.keys(positions)
        attended = queries + self.attend(queries, keys, keys, need_weights=False)[0]
        if tokens is None or token_mask is None:
            mean = attended[:, 0]
        else:
            mean = (attended * token_mask[..., None]).sum(1) / token_mask.sum(1, keepdim=True).clamp_min(1)
        return torch.stack([self.image(u), self.caption(v), self.out(mean)], -1)


JOINS: dict[str, Callable[..., nn.Module]] = {"gated": Gated, "concat": Concat, "film": Film, "attention": Attention}


def _linear(cfg: Fusion, width: int) -> nn.Linear:
    return nn.Linear(cfg.hidden, width, bias=False)
