"""Frozen CLIP-like pairs: a vector of length 1 for each image or caption, and its similarity to the labels' prompts."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np
import torch
from torch.nn.functional import normalize

from tandem.config.encoders import ClipEncoder, ClipImageEncoder, LabelPrompts
from tandem.features.clip_pair import Pair, Pixels
from tandem.features.clip_weights import load_pair
from tandem.features.image_encoder import ImageNetwork, alone
from tandem.runtime.torch_setup import autocast, device

TEXTS = 64  # in one batch
Compare = Callable[[torch.Tensor], torch.Tensor]  # vectors (b, d) -> (b, d), or (b, d + c) with similarities


def load_encoder(cfg: ClipEncoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
    """Images or captions in order -> float32 blocks (b, views, d), and with prompts (b, views, d + c): the last c
    values are logit scale x cosine to the prompts of each label. Of lists of k captions: k views."""
    if isinstance(cfg, ClipImageEncoder):
        return alone([_network(cfg)])
    return _caption_encoder(*_load(cfg))


def load_networks(encoders: Sequence[ClipImageEncoder]) -> list[ImageNetwork]:
    """The networks of several encoders."""
    return [_network(cfg) for cfg in encoders]


def _load(cfg: ClipEncoder) -> tuple[Pair, Compare]:
    if cfg.prompts and not cfg.label_prompts:
        raise ValueError("prompts = true, but the labels have no prompts; expected those of competition.toml")
    pair = load_pair(cfg.model)
    pair.network.to(device())
    return pair, _comparison(pair, cfg.label_prompts if cfg.prompts else ())


def check_pixels(cfg: ClipImageEncoder, own: Pixels) -> None:
    """Raises ValueError, with the lines to write, where the images of `cfg` are not those that the pair takes."""
    resize = "crop" if own.crop else "square"
    if cfg.size != own.size or (cfg.resize == "crop" and not own.crop):
        raise ValueError(
            f"model = {cfg.model!r} takes other images than size = {cfg.size}, resize = {cfg.resize!r}; in the section "
            f'of its encoder, write size = {own.size} and resize = "{resize}"'
        )


def _network(cfg: ClipImageEncoder) -> ImageNetwork:
    pair, compare = _load(cfg)
    check_pixels(cfg, pair.pixels)
    on = device()
    mean, std = (torch.tensor(values, device=on) for values in (pair.pixels.mean, pair.pixels.std))

    def compute(pixels: torch.Tensor, _: object) -> dict[str, torch.Tensor]:
        with autocast(on):
            return {cfg.slug: compare(pair.embed_images(((pixels / 255 - mean) / std).permute(0, 3, 1, 2)))}

    return ImageNetwork(cfg.image_size, {cfg.slug: 1 + cfg.mirror}, compute)


def _caption_encoder(pair: Pair, compare: Compare) -> Callable[[Sequence], Iterator[np.ndarray]]:
    @torch.inference_mode()
    def encode(captions: Sequence) -> Iterator[np.ndarray]:
        for start in range(0, len(captions), TEXTS):
            rows = [[row] if isinstance(row, str) else row for row in captions[start : start + TEXTS]]
            vectors = compare(_embed_texts(pair, list(chain.from_iterable(rows))))
            yield vectors.reshape(len(rows), len(rows[0]), -1).cpu().numpy()

    return encode


def _embed_texts(pair: Pair, texts: Sequence[str]) -> torch.Tensor:
    """(n, d) of length 1."""
    on = device()
    with autocast(on, enabled=on.type == "cuda"):
        parts = [pair.embed_texts(texts[start : start + TEXTS]) for start in range(0, len(texts), TEXTS)]
    return normalize(torch.cat(parts).float(), dim=1)


def _comparison(pair: Pair, prompts: LabelPrompts) -> Compare:
    """What makes the features of a tower's vectors; float32."""
    if not prompts:
        return lambda vectors: normalize(vectors.float(), dim=1)
    directions = prompt_directions(pair, prompts)

    def compare(vectors: torch.Tensor) -> torch.Tensor:
        with torch.autocast(vectors.device.type, enabled=False):
            vectors = normalize(vectors.float(), dim=1)
            return torch.cat([vectors, pair.logit_scale * vectors @ directions.T], 1)

    return compare


@torch.inference_mode()
def prompt_directions(pair: Pair, prompts: LabelPrompts) -> torch.Tensor:
    """(c, d) of length 1: the mean of the vectors of each label's prompts."""
    vectors = _embed_texts(pair, [text for texts in prompts for text in texts])
    each = vectors.split([len(texts) for texts in prompts])
    return normalize(torch.stack([part.mean(0) for part in each]), dim=1)
