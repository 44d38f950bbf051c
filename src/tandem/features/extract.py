"""Loads the encoders of image and caption models, and the rows that they encode."""

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.data.caption_rows import as_views
from tandem.data.split_tables import read_caption_lists, read_captions, read_ids, read_image_rows
from tandem.features.pretrained_weights import load_backbone, load_sentences, save_backbone, save_sentences

if TYPE_CHECKING:
    import torch

Blocks = dict[str, np.ndarray]  # by slug of the encoder: float32 (b, views, ...)


def load_encoder(cfg: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
    """The encoder with its network loaded: files or captions in order -> (b, views, ...) float32 blocks."""
    return _module(cfg, "encoder").load_encoder(cfg)


def load_encoders(encoders: Sequence[Encoder]) -> Callable[[Sequence, Collection[str]], Iterator[Blocks]]:
    """Several encoders of the same `items`, with their networks loaded: (items, slugs) -> the blocks of these encoders,
    each in order. Each image is decoded once."""
    if encoders[0].reads == "caption":
        loaded = {cfg.slug: load_encoder(cfg) for cfg in encoders}
        return lambda items, slugs: ({slug: block} for slug in slugs for block in loaded[slug](items))
    from tandem.features.image_encoder import encode_images

    networks = []
    for family in dict.fromkeys(cfg.family for cfg in encoders):
        same = [cfg for cfg in encoders if cfg.family == family]
        networks += _module(same[0], "encoder").load_networks(same)
    return lambda items, slugs: encode_images(networks, items, slugs)


def used_tensors(cfg: Encoder) -> dict[str, "torch.Tensor"]:
    """The pretrained tensors that the encoder uses, by name; of a backbone split in two only the frozen part."""
    if cfg.family == "clip":
        return _module(cfg, "weights").used_tensors(cfg)
    if cfg.cached_map:
        return _module(cfg, "backbone_split").early_tensors(cfg)
    image = cfg.reads == "image"
    return (load_backbone(cfg.model, cfg.weights_name) if image else load_sentences(cfg.model)).state_dict()


def save_weights(cfg: Encoder, path: Path, used: Container[str], bits: int = 8) -> None:
    """Writes the pretrained weights to a file or folder that the encoder takes; tensors not in `used` are zeros.

    bits  of a number: 8 (int8 for caption models, float16 for others), 16 or 32
    """
    if cfg.family == "clip":
        _module(cfg, "weights").save_pair(cfg.model, path, used, bits)
    elif cfg.family == "image":
        save_backbone(cfg.model, cfg.weights_name, path, used, bits)
    else:
        save_sentences(cfg.model, path, used, bits)


def encoded_ids(paths: Paths, cfg: Encoder, split: str) -> list[str]:
    """The ids of the rows that it encodes of one split."""
    return read_ids((paths.images if cfg.reads == "image" else paths.captions)(split))


def encoded_items(paths: Paths, cfg: Encoder, split: str) -> Sequence:
    """Its `items` of one split, in the order of `encoded_ids`."""
    if cfg.items == "captions":
        return as_views(read_caption_lists(paths.captions(split)))
    if cfg.items == "caption":
        return read_captions(paths.captions(split))[1]
    return [paths.input / file for file in read_image_rows(paths.images(split))["file"]]


def _module(cfg: Encoder, name: str) -> ModuleType:
    return import_module(f"tandem.features.{cfg.family}_{name}")
