"""The fusion network: late stages of two trunks, and heads that join them in terms that add up to each logit."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, normalize, poisson_nll_loss

from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion
from tandem.features.text_backbone_split import is_token
from tandem.models.fusion_joins import JOINS
from tandem.models.losses import make_loss, weighted_bce

Batch = dict[
    str, torch.Tensor
]  # maps (b, h, w, d) or pixels; frozen (b, f); caption (b, f); tokens (b, t, d)
Targets = tuple[torch.Tensor, torch.Tensor | None]  # (b, c), and how much each counts


@dataclass(frozen=True)
class Features:
    """What one batch looks like before the heads; a part that is not there is None.

    image (b, f) and caption (b, f), as they come or standardised; positions (b, p, d); tokens (b, t, d), there (b, t)
    bool
    """

    image: torch.Tensor | None = None
    caption: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    tokens: torch.Tensor | None = None
    there: torch.Tensor | None = None


@dataclass(frozen=True)
class Outputs:
    """What the heads say: terms (heads, b, c, 3) a setting, counts (heads, b), and how alike the caption's features
    are to those told from the photo, (heads, b), -1 to 1."""

    terms: dict[str, torch.Tensor]
    bias: torch.Tensor
    counts: torch.Tensor
    likeness: torch.Tensor | None
    log_weights: torch.Tensor


class Trunks(nn.Module):
    """The late stages; `late` maps (b, h, w, d) to the last feature map (b, d', h', w'), `layers` states to states."""

    def __init__(self, late: nn.Module | None, layers: nn.Module | None):
        super().__init__()
        self.late, self.layers = late, layers

    def forward(self, batch: Batch) -> Features:
        """Features as they come, before they are standardised."""
        image, caption, positions, tokens, there = [], [], None, None, None
        if self.late is not None:
            last = self.late(batch["maps"]).flatten(2).float()  # (b, d, p)
            image += [last.mean(2), last.max(2).values]  # amax takes ten times as long backward
            positions = last.transpose(1, 2)
        if "frozen" in batch:
            image.append(batch["frozen"])
        if "caption" in batch:
            caption.append(batch["caption"])
        if self.layers is not None:
            there = is_token(batch["tokens"])
            longest = max(1, int(there.sum(1).max()))  # what comes after is padding for every row
            there, tokens = there[:, :longest], self.layers(batch["tokens"][:, :longest].float()).float()
            caption += _pool(tokens, there)
        both = (torch.cat(parts, 1) if parts else None for parts in (image, caption))
        return Features(*both, positions, tokens, there)


class FusionNetwork(nn.Module):
    """Trunks and heads; `widths`: of the features image and caption, of positions and tokens, where there are any."""

    def __init__(self, cfg: Fusion, n_labels: int, trunks: Trunks, widths: dict[str, int]):
        super().__init__()
        self.trunks, self.widths = trunks, widths
        self.image = Standardise(widths["image"]) if "image" in widths else None
        self.caption = Standardise(widths["caption"]) if "caption" in widths else None
        self.heads = nn.ModuleList(FusionHead(cfg, n_labels, widths) for _ in range(cfg.heads))
        self.bias = nn.Parameter(torch.zeros(n_labels))
        self.log_weights = nn.Parameter(torch.zeros(2), requires_grad=cfg.learned_weights)
        self.register_buffer("center", torch.zeros(n_labels, 3))  # of the terms, over the training rows

    def forward(self, batch: Batch | Features) -> Outputs:
        """What the heads say of a batch, or of what the trunks made of it."""
        raw = batch if isinstance(batch, Features) else self.trunks(batch)
        image = self.image(raw.image) if self.image else None
        caption = self.caption(raw.caption) if self.caption else None
        features = Features(image, caption, raw.positions, raw.tokens, raw.there)
        heads = [head(features) for head in self.heads]
        terms = {name: torch.stack([terms[name] for terms, _, _ in heads]) for name in heads[0][0]}
        likeness = None if heads[0][2] is None else torch.stack([like for _, _, like in heads])
        counts = torch.stack([count for _, count, _ in heads])
        return Outputs(terms, self.bias, counts, likeness, self.log_weights)


class Standardise(nn.Module):
    """(x - mean) / deviation, at most 6 either way."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, x: torch.Tensor) -> None:
        self.mean, self.deviation = x.mean(0), x.std(0).clamp_min(1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x - self.mean) / self.deviation).clamp(-6, 6)


class FusionHead(nn.Module):
    """From features to terms in every setting, the number of labels, and the caption told from the photo."""

    def __init__(self, cfg: Fusion, n_labels: int, widths: dict[str, int]):
        super().__init__()
        self.image = _hidden(cfg, widths["image"]) if "image" in widths else None
        self.caption = _hidden(cfg, widths["caption"]) if "caption" in widths else None
        seen = [part for part in (self.image, self.caption) if part is not None]
        self.count = nn.Linear(len(seen) * cfg.hidden, 1)
        self.attends = cfg.how == "attention"
        if len(seen) < 2:
            self.alone = nn.Linear(cfg.hidden, n_labels, bias=False)
            return
        self.imagine = nn.Linear(cfg.hidden, widths["caption"])
        self.no_image = nn.Parameter(torch.zeros(cfg.hidden))
        extra = (widths["tokens"], widths["positions"]) if self.attends else ()
        self.join = JOINS[cfg.how](cfg, n_labels, *extra)

    def forward(self, x: Features) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor | None]:
        if self.image is None or self.caption is None:
            return self._alone(x)
        u, v = self.image(x.image), self.caption(x.caption)
        imagined = self.imagine(u)
        scaled = normalize(imagined, dim=1) * imagined.shape[1] ** 0.5  # as long as standardised features are
        blind = self.no_image.expand_as(u)
        terms = {
            BOTH: self._join(u, v, x.tokens, x.there, x.positions),
            NO_CAPTION: self._join(u, self.caption(scaled), None, None, x.positions),
            NO_IMAGE: self._join(blind, v, x.tokens, x.there, None),
        }
        count = self.count(torch.cat([u, v], 1))[:, 0]
        return terms, count, cosine_similarity(imagined, x.caption.detach(), dim=1)

    def _alone(self, x: Features) -> tuple[dict[str, torch.Tensor], torch.Tensor, None]:
        hidden = self.caption(x.caption) if self.image is None else self.image(x.image)
        logits = self.alone(hidden)
        none = torch.zeros_like(logits)
        parts = [none, logits, none] if self.image is None else [logits, none, none]
        return {BOTH: torch.stack(parts, -1)}, self.count(hidden)[:, 0], None

    def _join(self, u, v, tokens, there, positions) -> torch.Tensor:
        return self.join(u, v, tokens, there, positions) if self.attends else self.join(u, v)


def fusion_loss(cfg: FusionExperiment) -> Callable[[Outputs, Targets], torch.Tensor]:
    """The labels' loss in each setting, and the two other tasks.

    (1 - p) L(both) + p / 2 (L(no caption) + L(no image)): modality dropout with probability p, its mean instead of a
    draw. The number of labels by Poisson loss, the caption's features by 1 - cosine. Learned weights: each task is
    weighed by exp(-s), and s is added (Kendall et al. 2018, arXiv 1705.07115).
    """
    fusion, labels = cfg.fusion, make_loss(cfg.train.loss, cfg.train.smoothing)

    def loss(outputs: Outputs, targets: Targets) -> torch.Tensor:
        targets, weights = targets
        p = fusion.modality_dropout if len(outputs.terms) > 1 else 0.0
        shares = {BOTH: 1 - p, NO_CAPTION: p / 2, NO_IMAGE: p / 2}
        total = targets.new_zeros(())
        for name, terms in outputs.terms.items():
            if shares[name]:
                logits = (terms.float().sum(-1) + outputs.bias).flatten(0, 1)
                wanted = targets.repeat(len(terms), 1)
                if weights is None:
                    cost = labels(logits, wanted)
                else:
                    cost = weighted_bce(logits, wanted, weights.repeat(len(terms), 1), cfg.train.smoothing)
                total = total + shares[name] * cost
        tasks = [
            (fusion.count, poisson_nll_loss(outputs.counts, targets.sum(1).expand_as(outputs.counts))),
        ]
        if outputs.likeness is not None:
            tasks.append((fusion.embedding, (1 - outputs.likeness).mean()))
        for (weight, task), s in zip(tasks, outputs.log_weights, strict=False):
            if weight:
                total = total + weight * torch.exp(-s) * task + weight * s
        return total

    return loss


def _pool(tokens: torch.Tensor, there: torch.Tensor) -> list[torch.Tensor]:
    """(b, d) each: the mean over a caption's tokens, normalised, the largest and the smallest value."""
    mask = there[..., None]
    mean = (tokens * mask).sum(1) / mask.sum(1).clamp_min(1)
    far = torch.finfo(tokens.dtype).max
    largest, smallest = tokens.masked_fill(~mask, -far).amax(1), tokens.masked_fill(~mask, far).amin(1)
    return [normalize(mean, dim=1), largest.clamp(-100, 100), smallest.clamp(-100, 100)]


def _hidden(cfg: Fusion, width: int) -> nn.Module:
    return nn.Sequential(
        nn.Dropout(cfg.input_dropout),
        nn.Linear(width, cfg.hidden),
        nn.LayerNorm(cfg.hidden),
        nn.GELU(),
        nn.Dropout(cfg.dropout),
    )
