"""Loads the encoder of an image or caption model, and writes its features of one split."""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from tandem.artifacts.paths import Paths
from tandem.config.encoders import Encoder
from tandem.data.caption_rows import as_views
from tandem.data.split_tables import read_caption_lists, read_captions, read_image_rows
from tandem.features.feature_store import write_features
from tandem.features.pretrained_weights import load_backbone, load_sentences, save_backbone, save_sentences

if TYPE_CHECKING:
    import torch


def load_encoder(cfg: Encoder) -> Callable[[Sequence], Iterator[np.ndarray]]:
    """The encoder with its network loaded: files or captions in order -> (b, views, ...) float32 blocks."""
    return _module(cfg, "encoder").load_encoder(cfg)


def encode_split(paths: Paths, cfg: Encoder, split: str, made_from: Mapping[str, Any]) -> None:
    """Writes the features of one split; `made_from`: key and inputs, kept beside them."""
    ids, items = split_rows(paths, cfg, split)
    unit, path = "img" if cfg.reads == "image" else "captions", paths.features(cfg.slug, split)
    write_features(path, ids, lambda start: load_encoder(cfg)(items[start:]), made_from, unit)


def used_tensors(cfg: Encoder) -> dict[str, "torch.Tensor"]:
    """The pretrained tensors that the encoder uses, by name; of a backbone split in two only the frozen part."""
    if cfg.family == "clip":
        return _module(cfg, "weights").used_tensors(cfg)
    if cfg.cached_map:
        return _module(cfg, "backbone_split").early_tensors(cfg)
    image = cfg.reads == "image"
    return (load_backbone(cfg.model, cfg.weights_name) if image else load_sentences(cfg.model)).state_dict()


def save_weights(cfg: Encoder, path: Path, used: Container[str]) -> None:
    """Writes the pretrained weights to a file or folder that the encoder takes; tensors not in `used` are zeros."""
    if cfg.family == "clip":
        _module(cfg, "weights").save_pair(cfg.model, path, used)
    elif cfg.family == "image":
        save_backbone(cfg.model, cfg.weights_name, path, used)
    else:
        save_sentences(cfg.model, path, used)


def split_rows(paths: Paths, cfg: Encoder, split: str) -> tuple[list[str], Sequence]:
    """(ids, images or captions to encode) of one split."""
    if cfg.reads == "caption":
        ids, captions = read_captions(paths.captions(split))
        each = getattr(cfg, "each_caption", False)
        return ids, as_views(read_caption_lists(paths.captions(split))) if each else captions
    rows = read_image_rows(paths.images(split))
    return list(rows["id"]), [paths.input / f for f in rows["file"]]


def _module(cfg: Encoder, name: str) -> ModuleType:
    return import_module(f"tandem.features.{cfg.family}_{name}")
