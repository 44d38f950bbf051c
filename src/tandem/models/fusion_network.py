"""The fusion network: late stages of image and caption backbones, and heads whose terms add up to each logit."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import nn
from torch.nn.functional import cosine_similarity, normalize, poisson_nll_loss

from tandem.artifacts.contributions import BOTH, NO_CAPTION, NO_IMAGE
from tandem.config.experiments import FusionExperiment
from tandem.config.training import Fusion
from tandem.features.image_backbone_split import LateStages
from tandem.features.text_backbone_split import is_token
from tandem.models.dropout import ByteDropout
from tandem.models.fusion_joins import JOINS
from tandem.models.fusion_pooling import by_length, mean_and_max, pool_tokens
from tandem.models.losses import Targets, make_loss
from tandem.models.mlp_head import hidden_layer, mean_and_deviation

# maps (b, h, w, d) or pixels (b, h, w, 3); frozen, caption, joint (b, f); tokens (b, t, d); captioned (b,) bool
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Features:
    """The inputs of the heads for one batch; a part that the network does not have is None."""

    image: torch.Tensor | None = None  # (b, f), raw or standardised, as `caption`
    caption: torch.Tensor | None = None  # (b, f)
    joint: torch.Tensor | None = None  # (b, f) of image and caption together, which no part can be told apart in
    positions: torch.Tensor | None = None  # (b, p, d) of the last feature map
    tokens: torch.Tensor | None = None  # (b, t, d) states
    token_mask: torch.Tensor | None = None  # (b, t) bool: which of the states are tokens
    pooled: torch.Tensor | None = None  # (b, c) logits of the positions, pooled for each label
    captioned: torch.Tensor | None = None  # (b,) bool: which rows have a caption; None: all


@dataclass(frozen=True)
class Outputs:
    """What the heads predict; the terms and the bias add up to the logits."""

    terms: dict[str, torch.Tensor]  # by setting, (heads, b, c, 3): image, caption, fusion
    bias: torch.Tensor  # (c,)
    counts: torch.Tensor  # (heads, b) log of the expected number of labels
    similarity: torch.Tensor | None  # (heads, b) cosine of the caption features and those predicted from the image
    log_weights: torch.Tensor  # (2,) of the auxiliary tasks

    def mapped(
        self, rows: Callable[[torch.Tensor, int], torch.Tensor], shared: Callable[[torch.Tensor], torch.Tensor]
    ) -> "Outputs":
        """`rows` of what has a value for each row of the batch, in that dimension; `shared` of what has not."""
        similarity = None if self.similarity is None else rows(self.similarity, 1)
        terms = {name: rows(part, 1) for name, part in self.terms.items()}
        return Outputs(terms, shared(self.bias), rows(self.counts, 1), similarity, shared(self.log_weights))


class Trunks(nn.Module):
    """Pretrained late parts, to raw features: `late` from maps or an image's tokens, `layers` from a caption's."""

    def __init__(self, late: LateStages | None, layers: nn.Module | None) -> None:
        super().__init__()
        self.late, self.layers = late, layers

    def forward(self, batch: Batch) -> Features:
        positions = tokens = token_mask = None
        image, caption = ([batch[name]] if name in batch else [] for name in ("frozen", "caption"))
        if self.late is not None:
            states = self.late.states(batch["maps"])
            positions = self.late.as_map(states).flatten(2).transpose(1, 2)
            token = [token.float() for token in self.late.layout.first_token(states)]
            image = [*mean_and_max(positions), *token, *image]
        if self.layers is not None:
            token_mask = is_token(batch["tokens"])
            tokens = by_length(self.layers, batch["tokens"].float(), token_mask.sum(1))
            caption += pool_tokens(tokens, token_mask)
        joined = [torch.cat(parts, 1) if parts else None for parts in (image, caption)]
        given = {name: batch.get(name) for name in ("joint", "captioned")}
        return Features(joined[0], joined[1], positions=positions, tokens=tokens, token_mask=token_mask, **given)


class FusionNetwork(nn.Module):
    """Trunks and heads; `widths` are those of the `Features` it has: image, caption, positions, tokens."""

    center: torch.Tensor

    def __init__(self, cfg: Fusion, n_labels: int, trunks: Trunks, widths: dict[str, int]) -> None:
        super().__init__()
        self.trunks, self.widths = trunks, widths
        self.image = Standardise(widths["image"]) if "image" in widths else None
        self.caption = Standardise(widths["caption"]) if "caption" in widths else None
        self.joint = Standardise(widths["joint"]) if "joint" in widths else None
        pooled = cfg.label_pooling and "positions" in widths
        self.positions = LabelPooling(cfg, n_labels, widths["positions"]) if pooled else None
        self.heads = nn.ModuleList(FusionHead(cfg, n_labels, widths) for _ in range(cfg.heads))
        self.bias = nn.Parameter(torch.zeros(n_labels))
        self.log_weights = nn.Parameter(torch.zeros(2), requires_grad=cfg.learned_weights)
        self.register_buffer("center", torch.zeros(n_labels, 3))  # mean of the terms over training rows

    def forward(self, batch: Batch | Features) -> Outputs:
        """Predicts for a batch, or for raw features that were computed from it."""
        raw = batch if isinstance(batch, Features) else self.trunks(batch)
        image = self.image(raw.image) if self.image else None
        caption = self.caption(raw.caption) if self.caption else None
        pooled = self.positions(raw.positions) if self.positions else [None] * len(self.heads)
        scaled = replace(raw, image=image, caption=caption, joint=self.joint(raw.joint) if self.joint else None)
        heads = [head(replace(scaled, pooled=own)) for head, own in zip(self.heads, pooled, strict=True)]
        terms = {name: torch.stack([terms[name] for terms, _, _ in heads]) for name in heads[0][0]}
        similarities = [s for _, _, s in heads if s is not None]
        counts = torch.stack([count for _, count, _ in heads])
        return Outputs(terms, self.bias, counts, torch.stack(similarities) if similarities else None, self.log_weights)


class Standardise(nn.Module):
    """(x - mean) / deviation, clamped to -6 to 6."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))

    def fit(self, x: torch.Tensor) -> None:
        self.mean, self.deviation = mean_and_deviation(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return ((x - self.mean) / self.deviation).clamp(-6, 6)


class LabelPooling(Standardise):
    """From the last feature map (b, p, d) to logits (heads, b, c): linear at each position, then for each label the
    mean over positions weighted by their softmax.

    As class-specific residual attention (Zhu and Wu 2021, arXiv 2108.02456), with weights that start at zero.
    """

    def __init__(self, cfg: Fusion, n_labels: int, width: int) -> None:
        super().__init__(width)
        self.weight = nn.Parameter(torch.zeros(cfg.heads * n_labels, width))
        self.dropout, self.heads = ByteDropout(cfg.input_dropout), cfg.heads

    def forward(self, positions: torch.Tensor) -> torch.Tensor:
        return self.contributions(positions).sum(3)

    def contributions(self, positions: torch.Tensor) -> torch.Tensor:
        """(heads, b, c, p): what each position adds to the logits."""
        keep = self.dropout(torch.ones_like(positions[:, :1], dtype=self.weight.dtype))  # (b, 1, d): for all positions
        weight = self.weight / self.deviation * keep  # standardising the weights takes less time than the positions
        scores = torch.bmm(positions, weight.mT.to(positions.dtype)).float() - (weight @ self.mean).float()[:, None]
        return (scores * scores.softmax(1)).unflatten(2, (self.heads, -1)).permute(2, 0, 3, 1)


class FusionHead(nn.Module):
    """From features to terms in every setting, the number of labels, and caption features predicted from the image.

    The features of a text that is empty have no influence: a row without a caption has the terms of `no_caption` in
    place of those of `both`, no terms in `no_image`, and no caption to be predicted.
    """

    def __init__(self, cfg: Fusion, n_labels: int, widths: dict[str, int]) -> None:
        super().__init__()
        self.image = _hidden(cfg, widths["image"]) if "image" in widths else None
        self.caption = _hidden(cfg, widths["caption"]) if "caption" in widths else None
        self.joint = None
        if "joint" in widths:
            self.joint = nn.Sequential(_hidden(cfg, widths["joint"]), nn.Linear(cfg.hidden, n_labels, bias=False))
        modalities = [part for part in (self.image, self.caption) if part is not None]
        self.count = nn.Linear(len(modalities) * cfg.hidden, 1)
        if len(modalities) < 2:
            self.alone = nn.Linear(cfg.hidden, n_labels, bias=False)
            return
        self.imagine = nn.Linear(cfg.hidden, widths["caption"])
        self.no_image = nn.Parameter(torch.zeros(cfg.hidden))
        extra = (widths["tokens"], widths["positions"]) if cfg.how == "attention" else ()
        self.join = JOINS[cfg.how](cfg, n_labels, *extra)

    def forward(self, x: Features) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor | None]:
        terms, count, similarity = self._of_modalities(x)
        if self.joint is not None:  # a term of its own, only where nothing is missing
            logits = self.joint(x.joint)
            none = torch.zeros_like(logits)
            terms = terms | {BOTH: terms[BOTH] + torch.stack([none, none, logits], -1)}
        return terms, count, similarity

    def _of_modalities(self, x: Features) -> tuple[dict[str, torch.Tensor], torch.Tensor, torch.Tensor | None]:
        if self.image is None or self.caption is None:
            hidden = self.image(x.image) if self.image else cast(nn.Module, self.caption)(x.caption)
            logits = self.alone(hidden)
            none = torch.zeros_like(logits)
            if x.pooled is not None:
                logits = logits + x.pooled
            parts = [logits, none, none] if self.image else [none, logits, none]
            return {BOTH: torch.stack(parts, -1)}, self.count(hidden)[:, 0], None
        assert x.caption is not None
        u, v = self.image(x.image), self.caption(x.caption)
        predicted = self.imagine(u)  # caption features
        scaled = normalize(predicted, dim=1) * predicted.shape[1] ** 0.5  # the length of standardised features
        imagined, similarity = self.caption(scaled), cosine_similarity(predicted, x.caption.detach(), dim=1)
        terms = {
            BOTH: self.join(u, v, x.tokens, x.token_mask, x.positions),
            NO_CAPTION: self.join(u, imagined, None, None, x.positions),
            NO_IMAGE: self.join(self.no_image.expand_as(u), v, x.tokens, x.token_mask, None),
        }
        if x.pooled is not None:
            none = torch.zeros_like(x.pooled)
            pooled = torch.stack([x.pooled, none, none], -1)
            terms |= {setting: terms[setting] + pooled for setting in (BOTH, NO_CAPTION)}
        if x.captioned is not None:
            known = x.captioned[:, None, None]
            terms[BOTH] = torch.where(known, terms[BOTH], terms[NO_CAPTION])
            terms[NO_IMAGE] = torch.where(known, terms[NO_IMAGE], 0.0)
            v, similarity = torch.where(known[:, 0], v, imagined), torch.where(x.captioned, similarity, 1.0)
        return terms, self.count(torch.cat([u, v], 1))[:, 0], similarity


def fusion_loss(cfg: FusionExperiment) -> Callable[[Outputs, Targets], torch.Tensor]:
    """The loss of the labels in each setting and those of the two auxiliary tasks.

    (1 - p) L(both) + p / 2 (L(no caption) + L(no image)): the expectation of modality dropout with probability p.
    Poisson loss for the number of labels, 1 - cosine for the caption features. Learned weights: the loss of a task is
    multiplied by exp(-s), and s is added (Kendall et al. 2018, arXiv 1705.07115). Rows with an unknown label have no
    known number of labels.
    """
    fusion, labels = cfg.fusion, make_loss(cfg.train.loss, cfg.train.smoothing)

    def loss(outputs: Outputs, batch: Targets) -> torch.Tensor:
        y, weights = batch
        p = fusion.modality_dropout if len(outputs.terms) > 1 else 0.0
        shares = {BOTH: 1 - p, NO_CAPTION: p / 2, NO_IMAGE: p / 2}
        total = y.new_zeros(())
        for name, terms in outputs.terms.items():
            if shares[name]:
                logits = (terms.float().sum(-1) + outputs.bias).flatten(0, 1)
                repeated = (part if part is None else part.repeat(len(terms), 1) for part in batch)
                total = total + shares[name] * labels(logits, *repeated)
        tasks = [(fusion.count, _count_loss(outputs.counts, y, weights))]
        if outputs.similarity is not None:
            tasks.append((fusion.embedding, (1 - outputs.similarity).mean()))
        for (weight, task), s in zip(tasks, outputs.log_weights, strict=False):
            if weight:
                total = total + weight * torch.exp(-s) * task + weight * s
        return total

    return loss


def _count_loss(counts: torch.Tensor, y: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Poisson loss of log numbers of labels (heads, b), mean over the rows whose labels are all known."""
    if weights is None:
        return poisson_nll_loss(counts, y.sum(1).expand_as(counts))
    known = (weights > 0).all(1).expand_as(counts)
    cells = poisson_nll_loss(counts, y.sum(1).expand_as(counts), reduction="none")
    return (cells * known).sum() / known.sum().clamp_min(1)


def _hidden(cfg: Fusion, width: int) -> nn.Module:
    return nn.Sequential(ByteDropout(cfg.input_dropout), *hidden_layer(width, cfg.hidden, cfg.dropout))
